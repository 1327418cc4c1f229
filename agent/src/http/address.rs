//! Where a request goes: `http://` and `https://` addresses, and what a redirect makes of them.

use super::{Cause, HttpError, fail};

/// A checked address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether TLS is spoken.
    pub is_tls: bool,
    /// Host name or IP address, without the brackets of IPv6.
    pub host: String,
    /// Port, the scheme's own where none is written.
    pub port: u16,
    /// Host and port as they were written: the header `Host`.
    pub authority: String,
    /// Path and query; begins with `/`.
    pub path: String,
}

impl Address {
    /// Reads an address. A fragment is dropped; a user in it is refused, because addresses are shown.
    ///
    /// # Errors
    /// [`Cause::Invalid`].
    pub fn parse(url: &str) -> Result<Self, HttpError> {
        let bad = |why: &str| fail(Cause::Invalid, format!("{url:?} is no address: {why}"));
        let uri: hyper::Uri =
            url.split('#').next().unwrap_or_default().parse().map_err(|error| bad(&format!("{error}")))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("http:// or https:// is expected")),
        };
        let authority = uri.authority().ok_or_else(|| bad("a host is expected"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a user is not taken from the address; set basic_auth instead"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || (authority.port_u16().is_none() && authority.as_str() != authority.host()) {
            return Err(bad("HOST or HOST:PORT is expected"));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { is_tls, host, port, authority: authority.as_str().to_owned(), path })
    }

    /// The address that the header `Location` of an answer from here means (RFC 3986, section 5.2).
    ///
    /// # Errors
    /// [`Cause::Invalid`].
    pub fn join(&self, location: &str) -> Result<Self, HttpError> {
        let scheme = if self.is_tls { "https" } else { "http" };
        let location = location.split('#').next().unwrap_or_default();
        if location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let base = self.path.split('?').next().unwrap_or("/");
        let (path, query) = location.split_at(location.find('?').unwrap_or(location.len()));
        let path = match path {
            "" => base.to_owned(),
            path if path.starts_with('/') => without_dots(path),
            path => without_dots(&format!("{}/{path}", base.rsplit_once('/').map_or("", |(folder, _)| folder))),
        };
        Self::parse(&format!("{scheme}://{}{path}{query}", self.authority))
    }

    /// The address as text.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}{}", if self.is_tls { "https" } else { "http" }, self.authority, self.path)
    }
}

/// A path without `.` and `..`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    let ends_in_folder = ["/.", "/.."].iter().any(|end| path.ends_with(end));
    format!("/{}{}", kept.join("/"), if ends_in_folder && !kept.is_empty() { "/" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let read = |url: &str| {
            let address = Address::parse(url).unwrap();
            (address.is_tls, address.host, address.port, address.authority, address.path)
        };
        assert_eq!(read("http://h"), (false, "h".into(), 80, "h".into(), "/".into()));
        assert_eq!(read("https://[::1]:9/a?b=c#d"), (true, "::1".into(), 9, "[::1]:9".into(), "/a?b=c".into()));
        assert_eq!(read("http://h?q"), (false, "h".into(), 80, "h".into(), "/?q".into()));
        for bad in ["h", "ftp://h", "http://", "http://h:x/", "http://h:70000/", "http://u:p@h/", "http://h/ b", "/x"] {
            assert_eq!(Address::parse(bad).unwrap_err().cause, Cause::Invalid, "{bad}");
        }
    }

    #[test]
    fn redirects_are_resolved() {
        let base = Address::parse("https://h:1/a/b/c?q=1").unwrap();
        for (location, expected) in [
            ("http://x/y", "http://x/y"),
            ("//x/y", "https://x/y"),
            ("/y?z", "https://h:1/y?z"),
            ("y", "https://h:1/a/b/y"),
            ("../y", "https://h:1/a/y"),
            ("../../../y/.", "https://h:1/y/"),
            ("?z=http://x", "https://h:1/a/b/c?z=http://x"),
            ("#f", "https://h:1/a/b/c"),
        ] {
            assert_eq!(base.join(location).unwrap().url(), expected, "{location}");
        }
        assert!(base.join("mailto:x").is_err());
    }
}
