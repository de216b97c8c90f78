//! Requests and responses over one connection, retries, cached lists.

mod any_request;
mod cache_identity;
mod concurrent_requests;
mod forgotten_sessions;
mod malformed_results;
mod request_meta;
mod response_ids;
mod retries;
mod unreadable_messages;
