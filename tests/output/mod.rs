//! What is printed, and on which stream.

mod images;
mod jq;
mod limited_output;
mod notifications;
mod redaction;
mod result_files;
mod save_to_file;
mod standard_streams;
mod tables_and_progress;
