//! The endpoints of a region, and how TLS is spoken with them.

use super::Build;
use crate::RegionIndex;
use crate::regions::address;
use crate::regions::compiled::{ENDPOINTS_MAX, Endpoint, Scheme, tag_of};
use crate::regions::raw::RawEndpoint;
use crate::regions::tls::{
    EndpointTls, RawIdentity, RawUpstreamTls, SETTINGS_MAX, UpstreamIdentity, UpstreamTls,
    is_server_name, path_fault,
};
use crate::yaml::{Mark, Spanned};

impl Build<'_, '_> {
    /// Takes `upstream_tls`; says where it stands.
    pub(super) fn upstream_tls(&mut self, raw: Option<Spanned<RawUpstreamTls>>) -> Option<Mark> {
        let raw = raw?;
        self.check_tls(&raw.value);
        self.all_tls = raw.value;
        Some(raw.at)
    }

    /// A key that nothing answers to is told.
    pub(super) fn idle_tls(&mut self, at: Option<Mark>) {
        if let (Some(at), true) = (at, self.tls.is_empty()) {
            self.ctx.warn(
                at,
                "`upstream_tls` has no effect: no endpoint is `https://`",
            );
        }
    }

    pub(super) fn endpoints(
        &mut self,
        (region, index): (&str, RegionIndex),
        tls: Option<Spanned<RawUpstreamTls>>,
        list: Vec<Spanned<RawEndpoint>>,
    ) {
        let at = tls.as_ref().map(|own| own.at);
        if let Some(own) = &tls {
            self.check_tls(&own.value);
        }
        let own = tls.map(|own| own.value).unwrap_or_default();
        let tls = own.over(&self.all_tls);
        let secure = |endpoint: &Spanned<RawEndpoint>| endpoint.value.url.starts_with("https://");
        let idle = !list.iter().any(secure);
        for endpoint in list {
            self.endpoint((region, index), &tls, endpoint);
        }
        if let (Some(at), true) = (at, idle) {
            self.fault(
                at,
                "`tls` has no effect: no endpoint of this region is `https://`",
                "take it out, or write `https://` endpoints",
            );
        }
    }

    fn endpoint(
        &mut self,
        (region, index): (&str, RegionIndex),
        tls: &RawUpstreamTls,
        raw: Spanned<RawEndpoint>,
    ) {
        let at = raw.at;
        if self.endpoints.len() >= ENDPOINTS_MAX {
            return self.fault(
                at,
                "more than 4,096 endpoints",
                "put a balancer in front of some",
            );
        }
        let raw = raw.value;
        let address = match address::parse(&raw.url) {
            Ok(address) => address,
            Err((message, help)) => return self.fault(at, message, help),
        };
        let id = format!(
            "{region}/{}://{}",
            address.scheme.as_str(),
            address.authority
        );
        let tag = tag_of(&id);
        if self.endpoints.iter().any(|other| other.tag == tag) {
            return self.fault(
                at,
                "this endpoint is listed twice",
                "list each address once a region",
            );
        }
        let tls = match address.scheme {
            Scheme::Http => {
                if let Some(name) = raw.server_name {
                    self.fault(
                        name.at,
                        "`server_name` has no effect: the endpoint is not `https://`",
                        "take it out, or write `https://`",
                    );
                }
                None
            }
            Scheme::Https => match self.endpoint_tls(at, tls, (raw.server_name, &address.host)) {
                Some(tls) => Some(tls),
                None => return,
            },
        };
        self.endpoints.push(Endpoint {
            id,
            region: index,
            scheme: address.scheme,
            host: address.host,
            port: address.port,
            authority: address.authority,
            tls,
            version: raw.version,
            routed: None,
            tag,
        });
    }

    /// `None`: a fault was told.
    fn endpoint_tls(
        &mut self,
        at: Mark,
        tls: &RawUpstreamTls,
        (own_name, host): (Option<Spanned<String>>, &str),
    ) -> Option<EndpointTls> {
        let Some(ca) = &tls.ca else {
            self.fault(
                at,
                "nothing says who vouches for this endpoint",
                "write `upstream_tls: { ca: backends-ca.pem }`, the file of its authorities; for a public name for example `ca: /etc/ssl/certs/ca-certificates.crt`",
            );
            return None;
        };
        let settings = UpstreamTls {
            ca: ca.value.clone(),
            client: match tls.client.as_ref().map(|client| &client.value) {
                Some(RawIdentity::Files { cert, key }) => Some(UpstreamIdentity {
                    cert: cert.clone(),
                    key: key.clone(),
                }),
                Some(RawIdentity::Off) | None => None,
            },
            min_version: tls.min_version.unwrap_or_default(),
        };
        let name = own_name.as_ref().or(tls.server_name.as_ref());
        let (at, name) = name.map_or((at, host), |name| (name.at, name.value.as_str()));
        if !is_server_name(name) {
            self.fault(
                at,
                "no certificate can be for this name",
                "write the host name or address that stands in the endpoint's certificate, as in `server_name: backend.internal`",
            );
            return None;
        }
        let known = self.tls.iter().position(|known| *known == settings);
        if known.is_none() && self.tls.len() >= SETTINGS_MAX {
            self.fault(
                at,
                format!("more than {SETTINGS_MAX} different settings of TLS"),
                "let regions share authorities and certificates",
            );
            return None;
        }
        let settings = known.unwrap_or_else(|| {
            self.tls.push(settings);
            self.tls.len() - 1
        });
        Some(EndpointTls {
            settings,
            server_name: name.to_ascii_lowercase(),
        })
    }

    fn check_tls(&mut self, tls: &RawUpstreamTls) {
        const HELP: &str = "the edge reads the file itself, and again when it changes";
        if let Some(ca) = &tls.ca
            && let Some(fault) = path_fault(&ca.value)
        {
            self.fault(ca.at, fault, HELP);
        }
        let Some(client) = &tls.client else { return };
        match &client.value {
            RawIdentity::Off => {}
            RawIdentity::Files { cert, key } => {
                if let Some(fault) = path_fault(cert).or(path_fault(key)) {
                    self.fault(client.at, fault, HELP);
                }
            }
        }
    }
}
