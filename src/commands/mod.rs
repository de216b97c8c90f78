//! One file an operation.

pub mod config;

use crate::cli::{HttpTransport, TargetOptions};
use crate::target::Overrides;
use crate::transport::HttpMode;

/// The target options of the command line as plain values.
#[must_use]
pub fn overrides(options: &TargetOptions) -> Overrides {
    Overrides {
        headers: options.headers.clone(),
        env: options.env.clone(),
        cwd: options.cwd.clone(),
        bearer_env: options.bearer_env.clone(),
        transport: options.transport.map(|transport| match transport {
            HttpTransport::Auto => HttpMode::Auto,
            HttpTransport::Http => HttpMode::Streamable,
            HttpTransport::Sse => HttpMode::Sse,
        }),
        protocol: options.protocol.clone(),
        cacert: options.cacert.clone(),
        cert: options.cert.clone(),
        key: options.key.clone(),
        proxy: options.proxy.clone(),
        insecure: options.insecure,
        allow_http: options.allow_http,
    }
}
