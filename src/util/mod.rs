//! Small functions that several parts share. They depend on no other part.

pub mod atomic_write;
pub mod bounded_read;
pub mod busy_guard;
pub mod count;
pub mod duration;
pub mod file_lock;
pub mod hex;
pub mod home;
pub mod http_date;
pub mod json_error;
pub mod limit;
pub mod lock;
pub mod loopback;
pub mod page_title;
pub mod private_files;
pub mod quoting;
pub mod secret_names;
pub mod secret_words;
pub mod shorten;
pub mod size;
pub mod suggest;
pub mod unique;
pub mod uri_template;
pub mod when;
pub mod whole_number;
