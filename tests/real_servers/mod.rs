//! Published servers, built with the official SDKs and others.

mod everything;
mod oauth;
mod sdks;
