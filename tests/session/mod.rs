//! Requests and responses over one connection, retries, cached lists.

mod cache_identity;
mod concurrent_requests;
mod forgotten_sessions;
mod malformed_results;
mod response_ids;
mod retries;
mod unreadable_messages;
