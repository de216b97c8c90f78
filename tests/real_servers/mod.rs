//! Servers built with the official SDKs and others, as published.

mod everything;
mod oauth;
mod sdks;
