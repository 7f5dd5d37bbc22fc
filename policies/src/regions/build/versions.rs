//! `traffic_policy.version_routing`, from written to meant.

use super::Build;
use crate::regions::raw::RawVersion;
use crate::regions::testers::{RawTesters, Testers};
use crate::regions::versions::{VERSIONS_MAX, Versions, Weighted};
use crate::yaml::Spanned;

impl Build<'_, '_> {
    /// Compiles the list and marks the endpoints that run one of it.
    pub(super) fn versions(
        &mut self,
        list: Option<Spanned<Vec<Spanned<RawVersion>>>>,
        (header, testers): (Option<Spanned<String>>, Option<Spanned<RawTesters>>),
    ) -> Versions {
        if let (Some(testers), None) = (&testers, &header) {
            let message = "testers have no way to ask";
            self.fault(testers.at, message, "name a `version_header`");
        }
        let Some(list) = list else {
            if let Some(header) = header {
                let message = "`version_header` has no effect without `version_routing`";
                self.fault(header.at, message, "list the versions, or take it out");
            }
            return Versions::default();
        };
        let at = list.at;
        let mut versions = Versions::default();
        for raw in list.value {
            self.version(&mut versions, raw);
        }
        if versions.list.iter().all(|of| of.weight == 0) {
            self.fault(at, "no version has a weight", "give at least one above 0");
        }
        if let Some(header) = header {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let name = header.value.to_ascii_lowercase();
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                let help = "use 1 to 64 letters, digits, `-` and `_`";
                self.fault(header.at, "this is no name for a header", help);
            }
            versions.header = Some(name);
        }
        if let Some(testers) = testers {
            versions.testers = Testers::compile(&testers, self.ctx);
        }
        self.mark(&versions);
        versions
    }

    fn version(&mut self, versions: &mut Versions, raw: Spanned<RawVersion>) {
        let (at, RawVersion { version, weight }) = (raw.at, raw.value);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
        if version.is_empty() || version.len() > 64 || !version.bytes().all(plain) {
            let help = "use 1 to 64 letters, digits, `.`, `-`, `_` and `+`";
            self.fault(at, "this is no version", help);
        }
        if weight > 1_000_000 {
            self.fault(at, "a weight over 1000000", "only the ratios matter");
        }
        if versions.index_of(&version).is_some() {
            let message = format!("the version `{version}` is listed twice");
            return self.fault(at, message, "add the weights up");
        }
        if versions.list.len() >= VERSIONS_MAX {
            return self.fault(at, "more than 16 versions", "retire some");
        }
        if !self
            .endpoints
            .iter()
            .any(|of| of.version.as_deref() == Some(version.as_str()))
        {
            let message = format!("no endpoint runs `{version}`: its share goes to the others");
            self.ctx.warn(at, message);
        }
        versions.list.push(Weighted { version, weight });
    }

    fn mark(&mut self, versions: &Versions) {
        for endpoint in &mut self.endpoints {
            let version = endpoint.version.as_deref();
            endpoint.routed = version.and_then(|version| versions.index_of(version));
        }
    }
}
