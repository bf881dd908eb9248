//! The agent's configuration file.

#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../../dataplane/agent/src/config/mod.rs"]
mod real;

/// Any bytes are a configuration, or are refused in one line.
pub(crate) fn config(data: &[u8]) {
    let loaded = crate::with_file("config.yaml", data, real::Config::load);
    if let Err(error) = loaded {
        let text = error.to_string();
        assert!(!text.contains('\n') && text.len() < 2000, "{text}");
    }
}
