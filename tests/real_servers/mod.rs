//! Published servers, built with the official SDKs and others.

mod browsers;
mod ci_examples;
mod everything;
mod oauth;
mod sdks;
mod suites_and_locks;
