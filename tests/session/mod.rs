//! Requests and responses over one connection, retries, cached lists.

mod any_request;
mod cache_identity;
mod changed_lists;
mod concurrent_requests;
mod connection_failures;
mod forgotten_sessions;
mod list_pages;
mod malformed_results;
mod request_meta;
mod response_ids;
mod retries;
mod unreadable_messages;
