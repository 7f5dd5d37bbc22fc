//! The MCP server of a region. Promises that what a tool's annotations say is
//! what it does: they are what an edge retries by. Refuses a data class it
//! does not know, and data stricter than what the request was admitted as.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, request::Parts};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::{
        common::FromContextPart, router::tool::ToolRouter, tool::ToolCallContext,
        wrapper::Parameters,
    },
    model::{
        CallToolResult, ContentBlock, Implementation, MetaObject, ProgressNotificationParam,
        ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
    tool, tool_handler, tool_router,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    data_class::DataClass,
    load::Load,
    region::Region,
    store::{Record, Store},
};

/// `_meta` key of a tool: the least strict class that its data has. What the
/// arguments or the route say may be stricter.
pub const META_DATA_CLASS: &str = "io.meridian/data-class";
/// `_meta` key of a tool: whether a call may be sent again when it is not
/// known whether the first one ran.
pub const META_SAFE_TO_RETRY: &str = "io.meridian/safe-to-retry";

/// Most steps of `slow`.
const STEPS_MAX: u32 = 1_000;
/// Longest step of `slow`, in milliseconds.
const STEP_MS_MAX: u64 = 60_000;
/// Longest text that `echo` returns, in bytes.
const ECHO_MAX: usize = 1024 * 1024;
/// Most records that a search returns.
const SEARCH_MAX: usize = 100;

/// What an edge needs to know about a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToolTrait {
    /// As in `tools/call`.
    pub name: String,
    /// Changes nothing.
    pub read_only: bool,
    /// A second call with the same arguments changes nothing more.
    pub idempotent: bool,
    /// A call may be sent again when it is not known whether the first ran.
    pub safe_to_retry: bool,
    /// Least strict class of its data. `None`: whatever the caller sends.
    pub data_class: Option<DataClass>,
}

/// Every tool of a backend, by name: the same facts that `tools/list` states,
/// for an edge that is built from the same sources.
pub fn tool_table() -> Vec<ToolTrait> {
    Regional::tool_router()
        .list_all()
        .iter()
        .map(trait_of)
        .collect()
}

fn trait_of(tool: &rmcp::model::Tool) -> ToolTrait {
    let hints = tool.annotations.clone().unwrap_or_default();
    let meta = |key| tool.meta.as_ref().and_then(|meta| meta.0.get(key));
    ToolTrait {
        name: tool.name.to_string(),
        read_only: hints.read_only_hint.unwrap_or(false),
        idempotent: hints.idempotent_hint.unwrap_or(false),
        safe_to_retry: meta(META_SAFE_TO_RETRY).and_then(serde_json::Value::as_bool) == Some(true),
        data_class: meta(META_DATA_CLASS)
            .and_then(serde_json::Value::as_str)
            .and_then(|class| class.parse().ok()),
    }
}

/// The MCP server: one per session in the legacy era, one per request in the
/// modern one; all share the store.
#[derive(Clone)]
pub(crate) struct Regional {
    pub(crate) region: Region,
    pub(crate) store: Arc<Store>,
    pub(crate) load: Arc<Load>,
    tool_router: ToolRouter<Self>,
}

#[derive(Deserialize, JsonSchema)]
struct EchoParams {
    /// At most 1 MiB.
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct SlowParams {
    /// Number of steps, at most 1000.
    #[serde(default = "default_steps")]
    steps: u32,
    /// Length of a step in milliseconds, at most 60000.
    #[serde(default = "default_step_ms")]
    step_ms: u64,
}

fn default_steps() -> u32 {
    5
}

fn default_step_ms() -> u64 {
    200
}

#[derive(Deserialize, JsonSchema)]
struct PutParams {
    /// 1 to 128 bytes.
    key: String,
    /// At most 16 KiB.
    value: String,
    /// How sensitive the value is.
    #[schemars(extend("x-mcp-header" = "Data-Class"))]
    class: DataClass,
}

#[derive(Deserialize, JsonSchema)]
struct KeyParams {
    /// The record's key.
    key: String,
}

#[derive(Deserialize, JsonSchema)]
struct SearchParams {
    /// Part of a key or value. Empty: every record.
    #[serde(default)]
    text: String,
    /// At most 100.
    #[serde(default = "default_limit")]
    limit: usize,
}

fn default_limit() -> usize {
    20
}

#[derive(Deserialize, JsonSchema)]
struct RegionQueryParams {
    /// The region that is to answer.
    #[schemars(extend("x-mcp-header" = "Region"))]
    region: String,
    /// Part of a key or value. Empty: every record.
    #[serde(default)]
    text: String,
}

#[tool_router]
impl Regional {
    pub(crate) fn new(region: Region, store: Arc<Store>, load: Arc<Load>) -> Self {
        Self {
            region,
            store,
            load,
            tool_router: Self::tool_router(),
        }
    }

    #[tool(
        description = "Returns the text, and the region that did",
        annotations(read_only_hint = true, idempotent_hint = true, destructive_hint = false, open_world_hint = false),
        meta = retryable(None)
    )]
    fn echo(&self, Parameters(params): Parameters<EchoParams>) -> CallToolResult {
        if params.text.len() > ECHO_MAX {
            return refused("text: expected at most 1048576 bytes");
        }
        let answer = json!({ "region": self.region.as_str(), "text": params.text });
        let mut result = CallToolResult::success(vec![ContentBlock::text(params.text)]);
        result.structured_content = Some(answer);
        result
    }

    #[tool(
        description = "Says which region answered, and how loaded it is",
        annotations(read_only_hint = true, idempotent_hint = true, destructive_hint = false, open_world_hint = false),
        meta = retryable(Some(DataClass::Tier4Public))
    )]
    fn region_info(&self) -> CallToolResult {
        CallToolResult::structured(json!({
            "region": self.region.as_str(),
            "version": env!("CARGO_PKG_VERSION"),
            "in_flight": self.load.in_flight(),
            "capacity": self.load.capacity(),
            "records": self.store.len(),
        }))
    }

    #[tool(
        description = "Takes its time: reports progress after each step, stops when it is cancelled",
        annotations(read_only_hint = true, idempotent_hint = true, destructive_hint = false, open_world_hint = false),
        meta = retryable(Some(DataClass::Tier4Public))
    )]
    async fn slow(
        &self,
        Parameters(params): Parameters<SlowParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        if params.steps > STEPS_MAX || params.step_ms > STEP_MS_MAX {
            return Ok(refused("steps: at most 1000; step_ms: at most 60000"));
        }
        let token = context.meta.get_progress_token();
        for step in 1..=params.steps {
            let pause = tokio::time::sleep(Duration::from_millis(params.step_ms));
            tokio::select! {
                () = context.ct.cancelled() => {
                    self.load.note_cancelled();
                    return Ok(refused("cancelled"));
                }
                () = pause => {}
            }
            if let Some(token) = &token {
                let progress = ProgressNotificationParam::new(token.clone(), f64::from(step))
                    .with_total(f64::from(params.steps))
                    .with_message(format!("step {step} of {}", params.steps));
                // Whoever asked may have gone: the token says so next.
                let _ = context.peer.notify_progress(progress).await;
            }
        }
        Ok(CallToolResult::structured(
            json!({ "region": self.region.as_str(), "steps": params.steps }),
        ))
    }

    #[tool(
        description = "Stores a record under a key, replacing what was there; its class may only become stricter",
        annotations(read_only_hint = false, idempotent_hint = true, destructive_hint = true, open_world_hint = false),
        meta = retryable(Some(DataClass::Tier3Operational))
    )]
    fn records_put(
        &self,
        Parameters(params): Parameters<PutParams>,
        Admitted(admitted): Admitted,
    ) -> CallToolResult {
        if !params.class.fits(admitted) {
            return refused(&stricter(params.class, admitted));
        }
        let PutParams { key, value, class } = params;
        match self.store.put(Record { key, value, class }) {
            Ok(replaced) => CallToolResult::structured(
                json!({ "region": self.region.as_str(), "class": class, "replaced": replaced }),
            ),
            Err(error) => refused(&error.to_string()),
        }
    }

    #[tool(
        description = "Returns the record of a key",
        annotations(read_only_hint = true, idempotent_hint = true, destructive_hint = false, open_world_hint = false),
        meta = retryable(Some(DataClass::Tier3Operational))
    )]
    fn records_get(
        &self,
        Parameters(params): Parameters<KeyParams>,
        Admitted(admitted): Admitted,
    ) -> CallToolResult {
        match self.store.find(&params.key) {
            None => refused("no such record"),
            Some(record) if !record.class.fits(admitted) => {
                refused(&stricter(record.class, admitted))
            }
            Some(record) => CallToolResult::structured(
                json!({ "region": self.region.as_str(), "record": record }),
            ),
        }
    }

    #[tool(
        description = "Finds records by a part of their key or value, of the classes the request was admitted for",
        annotations(read_only_hint = true, idempotent_hint = true, destructive_hint = false, open_world_hint = false),
        meta = retryable(Some(DataClass::Tier3Operational))
    )]
    fn records_search(
        &self,
        Parameters(params): Parameters<SearchParams>,
        Admitted(admitted): Admitted,
    ) -> CallToolResult {
        let limit = params.limit.min(SEARCH_MAX);
        let records = self.store.search(&params.text, admitted, limit);
        CallToolResult::structured(json!({ "region": self.region.as_str(), "records": records }))
    }

    #[tool(
        description = "Finds records in the named region, when the request was routed there",
        annotations(read_only_hint = true, idempotent_hint = true, destructive_hint = false, open_world_hint = false),
        meta = retryable(Some(DataClass::Tier3Operational))
    )]
    fn region_query(
        &self,
        Parameters(params): Parameters<RegionQueryParams>,
        Admitted(admitted): Admitted,
    ) -> CallToolResult {
        if params.region != self.region.as_str() {
            return refused(&format!("asked for another region than {}", self.region));
        }
        let records = self.store.search(&params.text, admitted, SEARCH_MAX);
        CallToolResult::structured(json!({ "region": self.region.as_str(), "records": records }))
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Regional {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(
                "meridian-backend",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions(format!("Meridian's backend in {}", self.region))
    }
}

/// `_meta` of a tool that may be retried: all of ours are reads or
/// replacements.
fn retryable(class: Option<DataClass>) -> MetaObject {
    let mut meta = MetaObject::new();
    meta.0.insert(META_SAFE_TO_RETRY.to_owned(), true.into());
    if let Some(class) = class {
        meta.0
            .insert(META_DATA_CLASS.to_owned(), class.as_str().into());
    }
    meta
}

/// The class that the edge admitted this request as. Without its header (no
/// edge in front, stdio) anything goes; a word we do not know, or more than
/// one, admits only what is public.
struct Admitted(DataClass);

impl<S> FromContextPart<ToolCallContext<'_, S>> for Admitted {
    fn from_context_part(call: &mut ToolCallContext<'_, S>) -> Result<Self, ErrorData> {
        let headers = call
            .request_context
            .extensions
            .get::<Parts>()
            .map(|parts| &parts.headers);
        Ok(Self(headers.map_or(DataClass::Tier1Pii, admitted_as)))
    }
}

fn admitted_as(headers: &HeaderMap) -> DataClass {
    let mut values = headers.get_all("x-data-class").iter();
    match (values.next(), values.next()) {
        (None, _) => DataClass::Tier1Pii,
        (Some(class), None) => class
            .to_str()
            .ok()
            .and_then(|class| class.parse().ok())
            .unwrap_or(DataClass::Tier4Public),
        (Some(_), Some(_)) => DataClass::Tier4Public,
    }
}

fn stricter(data: DataClass, admitted: DataClass) -> String {
    format!("the data is {data}, the request was admitted as {admitted}")
}

/// A result that the model can read as a failure.
fn refused(reason: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(reason)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_states_what_the_tools_do() {
        let table = tool_table();
        let names: Vec<_> = table.iter().map(|tool| tool.name.as_str()).collect();
        let expected = [
            "echo",
            "records_get",
            "records_put",
            "records_search",
            "region_info",
            "region_query",
            "slow",
        ];
        assert_eq!(names, expected);
        for tool in &table {
            assert_eq!(tool.read_only, tool.name != "records_put", "{tool:?}");
            assert_eq!(
                tool.safe_to_retry,
                tool.read_only || tool.idempotent,
                "{tool:?}"
            );
        }
        let class = |name| {
            table
                .iter()
                .find(|t| t.name == name)
                .and_then(|t| t.data_class)
        };
        assert_eq!(class("echo"), None);
        assert_eq!(class("region_info"), Some(DataClass::Tier4Public));
        assert_eq!(class("records_put"), Some(DataClass::Tier3Operational));
    }

    #[test]
    fn a_doubtful_admission_admits_only_what_is_public() {
        let headers = |classes: &[&str]| {
            let pairs = classes.iter().map(|class| {
                (
                    http::HeaderName::from_static("x-data-class"),
                    class.parse().unwrap(),
                )
            });
            admitted_as(&pairs.collect::<HeaderMap>())
        };
        assert_eq!(headers(&[]), DataClass::Tier1Pii);
        assert_eq!(headers(&["tier_2_personal"]), DataClass::Tier2Personal);
        assert_eq!(headers(&["TIER_1_PII"]), DataClass::Tier4Public);
        assert_eq!(
            headers(&["tier_1_pii", "tier_4_public"]),
            DataClass::Tier4Public
        );
    }

    #[test]
    fn parameters_that_route_are_mirrored_into_headers() {
        let tools = Regional::tool_router().list_all();
        let mirrored = |tool: &str, param: &str| {
            let tool = tools.iter().find(|t| t.name == tool).unwrap();
            tool.input_schema["properties"][param]["x-mcp-header"].clone()
        };
        assert_eq!(mirrored("region_query", "region"), "Region");
        assert_eq!(mirrored("records_put", "class"), "Data-Class");
        let put = tools.iter().find(|t| t.name == "records_put").unwrap();
        assert_eq!(put.input_schema["properties"]["class"]["type"], "string");
    }
}
