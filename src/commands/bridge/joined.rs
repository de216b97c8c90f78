//! Several servers as one: tools and prompts are named `server__tool`, and resources are found by their URI.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::changes::subscribed_items;
use super::client::ClientLink;
use super::client_introduction::ClientIntroduction;
use super::connection::ServerConnection;
use super::guard::map_items;
use super::upstream::{Upstream, connection_closed};
use super::wire::{ClientMessage, ParamsEdit, member_text, parse_line};
use crate::error::Failure;
use crate::models::tool_names::{exposed_name, may_belong_to};
use crate::protocol::json::parse_string;
use crate::protocol::{code, method};
use crate::target::Target;
use crate::util::lock::lock;

/// Several servers as one.
pub struct JoinedServers {
    upstreams: Vec<Arc<Upstream>>,
    client: Arc<ClientLink>,
    client_introduction: Arc<ClientIntroduction>,
    routes: Mutex<Routes>,
    /// The IDs of the requests whose server is looked up.
    routing: Mutex<HashSet<String>>,
    /// Held while the servers are told what the client wants: the resources that it wants and no server lists.
    unlisted: tokio::sync::Mutex<BTreeSet<String>>,
}

/// Which server has what, by the lists that the client was sent.
#[derive(Default)]
struct Routes {
    /// Tools and prompts: by the list and the name at the client, the server and its own name.
    names: HashMap<(&'static str, String), (usize, String)>,
    /// Resources.
    uris: HashMap<String, usize>,
    /// Whether the resources have been listed.
    knows_resources: bool,
    /// Templates of resources.
    templates: Vec<(String, usize)>,
}

/// A list of all servers.
struct MergedList {
    items: Vec<String>,
    /// The servers that are left out.
    failed: Vec<(usize, Failure)>,
}

/// The lists: the method, the member of the result, and the member of an item that names it.
const LIST_METHODS: [(&str, &str, &str); 4] = [
    (method::TOOLS_LIST, "tools", "name"),
    (method::PROMPTS_LIST, "prompts", "name"),
    (method::RESOURCES_LIST, "resources", "uri"),
    (method::TEMPLATES_LIST, "resourceTemplates", "uriTemplate"),
];

impl JoinedServers {
    /// These servers as one.
    #[must_use]
    pub fn new(
        upstreams: Vec<Arc<Upstream>>,
        client: Arc<ClientLink>,
        client_introduction: Arc<ClientIntroduction>,
    ) -> Self {
        JoinedServers {
            upstreams,
            client,
            client_introduction,
            routes: Mutex::default(),
            routing: Mutex::default(),
            unlisted: tokio::sync::Mutex::default(),
        }
    }

    /// Answers a request that concerns all servers, or finds the server that it is for: its index, and the request with
    /// the names that this server uses.
    pub async fn take_request(self: &Arc<Self>, message: ClientMessage) -> Option<(usize, ClientMessage)> {
        let name = message.method().to_owned();
        if LIST_METHODS.iter().any(|(list, _, _)| *list == name)
            || matches!(name.as_str(), method::INITIALIZE | method::DISCOVER)
        {
            // On a task of its own: other requests of the client must not wait for all servers.
            let this = self.clone();
            // A client that begins again waits for nothing from before.
            let ended =
                if name == method::INITIALIZE { std::mem::take(&mut *lock(&self.routing)) } else { HashSet::new() };
            drop(tokio::spawn(async move {
                for id in ended {
                    this.client.send_failure(&id, &connection_closed()).await;
                }
                this.answer_for_all(message).await;
            }));
            return None;
        }
        match name.as_str() {
            method::LOGGING_SET_LEVEL => {
                let this = self.clone();
                drop(tokio::spawn(async move { this.set_log_level(message).await }));
            }
            method::SUBSCRIPTIONS_LISTEN => {
                self.client.acknowledge(message.id(), &subscribed_items(&message)).await;
                drop(tokio::spawn(self.clone().update_wanted()));
            }
            method::TOOLS_CALL => return self.route_by_name(message, "tools", &["name"]).await,
            method::PROMPTS_GET => return self.route_by_name(message, "prompts", &["name"]).await,
            method::COMPLETION_COMPLETE if message.param(&["ref", "name"]).is_some() => {
                return self.route_by_name(message, "prompts", &["ref", "name"]).await;
            }
            method::COMPLETION_COMPLETE => return self.route_by_uri(message, &["ref", "uri"]).await,
            method::RESOURCES_READ | method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE => {
                return self.route_by_uri(message, &["uri"]).await;
            }
            other => {
                let text = format!("{other} does not say for which server it is");
                self.client.send_error(message.id(), code::METHOD_NOT_FOUND, &text).await;
            }
        }
        None
    }

    /// Ends the subscription that a cancellation names, or the search for the server of the request that it names.
    /// Returns whether there was one.
    pub fn cancel(self: &Arc<Self>, cancellation: &ClientMessage) -> bool {
        if self.client.end_subscription(cancellation) {
            drop(tokio::spawn(self.clone().update_wanted()));
            return true;
        }
        cancellation.param(&["requestId"]).is_some_and(|id| lock(&self.routing).remove(id))
    }

    /// Tells each server what the client's subscriptions want of it: the resources that it lists.
    async fn update_wanted(self: Arc<Self>) {
        let mut unlisted = self.unlisted.lock().await;
        for (upstream, connected) in self.upstreams.iter().zip(self.connect().await) {
            if connected.is_err() {
                upstream.set_lost();
            }
        }
        let is_unknown = |uri: &String| lock(&self.routes).server_of(uri).is_none();
        let mut failed = BTreeMap::new();
        if self.client.wanted().uris.iter().any(is_unknown) {
            failed = self.refresh(&["resources", "resourceTemplates"]).await;
        }
        let all = self.client.wanted();
        let is_left_out = |uri: &&String| failed.is_empty() && is_unknown(uri);
        let left_out: BTreeSet<String> = all.uris.iter().filter(is_left_out).cloned().collect();
        if let Some(upstream) = self.upstreams.first() {
            for uri in left_out.difference(&unlisted) {
                upstream.ui.warn(&format!("cannot subscribe to {uri}: no server lists it"));
            }
        }
        *unlisted = left_out;
        let updates = self.upstreams.iter().enumerate().map(|(server, upstream)| {
            let mut wanted = all.clone();
            // A server that could not be asked may have one that no other has.
            wanted.uris.retain(|uri| match lock(&self.routes).server_of(uri) {
                Some(listed_by) => listed_by == server,
                None => failed.contains_key(&server),
            });
            upstream.set_wanted(wanted)
        });
        join_all(updates).await;
    }

    /// The connections to all servers.
    async fn connect(&self) -> Vec<Result<Arc<ServerConnection>, Failure>> {
        join_all(self.upstreams.iter().map(|upstream| upstream.connect())).await
    }

    async fn answer_for_all(self: &Arc<Self>, message: ClientMessage) {
        let list = LIST_METHODS.iter().find(|(list, _, _)| *list == message.method());
        let Some((list, member, key)) = list else { return self.introduce(&message).await };
        let MergedList { items, failed } = Box::pin(self.merged_list(list, member, key)).await;
        if failed.len() == self.upstreams.len()
            && let Some((_, failure)) = failed.first()
        {
            return self.client.send_failure(message.id(), failure).await;
        }
        let mut result = format!(r#"{{"{member}":[{}]"#, items.join(","));
        if self.client_introduction.is_modern() {
            result += r#","resultType":"complete","ttlMs":0,"cacheScope":"private""#;
        }
        result.push('}');
        self.client.send_result_text(message.id(), result.into()).await;
    }

    /// The items of all servers, without those of servers that fail.
    async fn merged_list(self: &Arc<Self>, list: &'static str, member: &'static str, key: &str) -> MergedList {
        let fetched = join_all(self.upstreams.iter().map(|upstream| fetch(upstream, list, member))).await;
        let (mut items, mut failed) = (Vec::new(), Vec::new());
        let mut routes = Routes::default();
        for (server, (upstream, pages)) in self.upstreams.iter().zip(fetched).enumerate() {
            let pages = match pages {
                Ok(pages) => pages,
                Err(failure) => {
                    upstream.warn(&format!("left out of {list}: {failure}"));
                    failed.push((server, failure));
                    continue;
                }
            };
            for page in pages {
                // The items are taken out; the rest of the page is not needed.
                let _ = map_items(&page, member, |raw| {
                    let own = member_text(raw.get(), key).and_then(parse_string)?;
                    items.push(routes.add(raw, (member, key), (server, &upstream.name), own));
                    None
                });
            }
        }
        if failed.len() < self.upstreams.len() || member == "resources" {
            lock(&self.routes).replace(member, routes, |server| failed.iter().any(|(other, _)| *other == server));
        }
        MergedList { items, failed }
    }

    /// Fetches the lists again, to find a name or URI that the client did not get from them. Returns the failures of
    /// servers that may have it.
    async fn refresh(self: &Arc<Self>, members: &[&str]) -> BTreeMap<usize, Failure> {
        let mut failed = BTreeMap::new();
        for (list, member, key) in LIST_METHODS.iter().filter(|(_, member, _)| members.contains(member)) {
            failed.extend(Box::pin(self.merged_list(list, member, key)).await.failed);
        }
        failed
    }

    async fn route_by_name(
        self: &Arc<Self>,
        message: ClientMessage,
        member: &'static str,
        path: &'static [&'static str],
    ) -> Option<(usize, ClientMessage)> {
        let name = message.string_param(path).unwrap_or_default();
        if let Some((server, own)) = self.named(member, &name) {
            return Some((server, with_name(message, path, &own)));
        }
        let this = self.clone();
        lock(&self.routing).insert(message.id().to_owned());
        drop(tokio::spawn(async move {
            let failed = this.refresh(&[member]).await;
            if !lock(&this.routing).remove(message.id()) {
                return;
            }
            if let Some((server, own)) = this.named(member, &name) {
                return this.forward(server, with_name(message, path, &own)).await;
            }
            match failed.iter().find(|(server, _)| may_belong_to(&this.upstreams[**server].name, &name)) {
                Some((_, failure)) => this.client.send_failure(message.id(), failure).await,
                None => {
                    let what = member.trim_end_matches('s');
                    let text = format!("Unknown {what}: {name}");
                    this.client.send_error(message.id(), code::INVALID_PARAMS, &text).await;
                }
            }
        }));
        None
    }

    async fn route_by_uri(self: &Arc<Self>, message: ClientMessage, path: &[&str]) -> Option<(usize, ClientMessage)> {
        let uri = message.string_param(path).unwrap_or_default();
        if let Some(server) = lock(&self.routes).server_of(&uri) {
            return Some((server, message));
        }
        let this = self.clone();
        lock(&self.routing).insert(message.id().to_owned());
        drop(tokio::spawn(async move {
            let failed = this.refresh(&["resources", "resourceTemplates"]).await;
            if !lock(&this.routing).remove(message.id()) {
                return;
            }
            let found = lock(&this.routes).server_of(&uri);
            if let Some(server) = found {
                return this.forward(server, message).await;
            }
            let text = format!("no server lists the resource {uri}");
            match failed.into_values().next() {
                // The URI does not show which server has it.
                Some(failure) => {
                    let unknown = Failure::new(failure.kind(), text);
                    let server = failure.details().server.clone().unwrap_or_default();
                    let failure = unknown.cause(format!("{server}: {failure}")).server(&server);
                    this.client.send_failure(message.id(), &failure).await;
                }
                None => {
                    let code = if this.client_introduction.is_modern() {
                        code::INVALID_PARAMS
                    } else {
                        code::RESOURCE_NOT_FOUND
                    };
                    this.client.send_error(message.id(), code, &text).await;
                }
            }
        }));
        None
    }

    fn named(&self, member: &'static str, name: &str) -> Option<(usize, String)> {
        lock(&self.routes).names.get(&(member, name.to_owned())).cloned()
    }

    async fn forward(&self, server: usize, message: ClientMessage) {
        if let Some(upstream) = self.upstreams.get(server) {
            upstream.forward(message).await;
        }
    }

    /// Answers `initialize` or `server/discover` for all servers.
    async fn introduce(self: &Arc<Self>, message: &ClientMessage) {
        if message.method() == method::INITIALIZE {
            join_all(self.upstreams.iter().map(|upstream| upstream.reset())).await;
        }
        let connected = self.connect().await;
        let (mut said, mut failed) = (Vec::new(), Vec::new());
        for (upstream, connection) in self.upstreams.iter().zip(connected) {
            match connection {
                Ok(connection) => said.push((upstream.name.as_str(), upstream.introduction(&connection))),
                Err(failure) => {
                    upstream.warn(&format!("cannot connect: {failure}"));
                    upstream.set_lost();
                    failed.push(failure);
                }
            }
        }
        if said.is_empty()
            && let Some(failure) = failed.first()
        {
            return self.client.send_failure(message.id(), failure).await;
        }
        let capabilities = merged_capabilities(&said, !failed.is_empty());
        let instructions: Vec<String> = said
            .iter()
            .filter_map(|(name, value)| Some(format!("# {name}\n\n{}", value.get("instructions")?.as_str()?)))
            .collect();
        let info = json!({"name": "mcpipe", "version": env!("CARGO_PKG_VERSION")});
        let instructions = (!instructions.is_empty()).then(|| instructions.join("\n\n").into());
        let result = match self.client_introduction.is_modern() {
            true => ClientIntroduction::discover_result(capabilities, info, instructions),
            false => self.client_introduction.initialize_result(capabilities, info, instructions),
        };
        self.client.send_result_text(message.id(), result.to_string().into()).await;
    }

    async fn set_log_level(self: &Arc<Self>, message: ClientMessage) {
        if let Some(level) = message.param(&["level"]) {
            self.client_introduction.set_log_level(level);
            let members = format!(r#""level":{level}"#);
            join_all(self.upstreams.iter().map(|upstream| set_log_level(upstream, &members))).await;
        }
        self.client.send_result_text(message.id(), "{}".into()).await;
    }
}

impl Routes {
    /// Adds an item of a list, and returns it as the client gets it.
    fn add(
        &mut self,
        raw: &RawValue,
        (member, key): (&'static str, &str),
        (server, server_name): (usize, &str),
        own: String,
    ) -> String {
        match member {
            "tools" | "prompts" => {
                let exposed = exposed_name(Some(server_name), &own);
                let item = with_member(raw.get(), key, &Value::from(exposed.as_str()).to_string());
                self.names.insert((member, exposed), (server, own));
                return item;
            }
            "resources" => _ = self.uris.entry(own).or_insert(server),
            _ => self.templates.push((own, server)),
        }
        raw.get().to_owned()
    }

    /// Replaces what is known from one list. The resources and templates of a server that is left out now
    /// remain its own.
    fn replace(&mut self, member: &str, new: Routes, is_left_out: impl Fn(usize) -> bool) {
        match member {
            "resources" => {
                self.uris.retain(|_, server| is_left_out(*server));
                for (uri, server) in new.uris {
                    self.uris.entry(uri).or_insert(server);
                }
                self.knows_resources = true;
            }
            "resourceTemplates" => {
                self.templates.retain(|(_, server)| is_left_out(*server));
                self.templates.extend(new.templates);
            }
            _ => {
                self.names.retain(|(list, _), _| *list != member);
                self.names.extend(new.names);
            }
        }
    }

    /// The server that listed this resource or template, or the template that begins most like it if no server lists
    /// the resource.
    fn server_of(&self, uri: &str) -> Option<usize> {
        let exact = || self.templates.iter().find(|(template, _)| template == uri).map(|(_, server)| *server);
        let alike = || {
            let start = |template: &str| template.split('{').next().unwrap_or_default().len();
            let fits = |(template, _): &&(String, usize)| uri.starts_with(&template[..start(template)]);
            let best = self.templates.iter().filter(fits).max_by_key(|(template, _)| start(template));
            best.map(|(_, server)| *server)
        };
        self.uris.get(uri).copied().or_else(exact).or_else(|| if self.knows_resources { alike() } else { None })
    }
}

/// The pages of a list of one server, by the rules for tools; none if the server does not have such a list.
async fn fetch(
    upstream: &Arc<Upstream>,
    list: &'static str,
    member: &'static str,
) -> Result<Vec<crate::protocol::rpc::RawJson>, Failure> {
    let connection = upstream.connect().await?;
    let capability = if member == "resourceTemplates" { "resources" } else { member };
    if !upstream.introduction(&connection)["capabilities"][capability].is_object() {
        return Ok(Vec::new());
    }
    let pages = match Box::pin(upstream.list_pages(list)).await {
        // Servers that have resources need not have templates.
        Err(failure) if failure.has_rpc_code(code::METHOD_NOT_FOUND) => {
            return Ok(Vec::new());
        }
        pages => pages?,
    };
    if member != "tools" {
        return Ok(pages);
    }
    Ok(pages.into_iter().map(|page| upstream.filtered_tools(&connection, page)).collect())
}

async fn set_log_level(upstream: &Arc<Upstream>, members: &str) {
    let Some(connection) = upstream.connected().await.filter(|connection| !connection.is_modern()) else { return };
    if upstream.introduction(&connection)["capabilities"]["logging"].is_object()
        && let Err(failure) = Box::pin(upstream.request(method::LOGGING_SET_LEVEL, members)).await
    {
        upstream.warn(&format!("cannot set the log level: {failure}"));
    }
}

/// What all servers can do together. With `is_incomplete`, a server may come later that can do more.
fn merged_capabilities(said: &[(&str, Value)], is_incomplete: bool) -> Value {
    let mut all = Map::new();
    for name in ["tools", "resources", "prompts"] {
        let of_servers = || said.iter().map(|(_, value)| &value["capabilities"][name]).filter(|one| one.is_object());
        if of_servers().next().is_none() && !is_incomplete {
            continue;
        }
        let mut capability = Map::new();
        for flag in ["listChanged", "subscribe"] {
            if of_servers().any(|one| one[flag] == true) || (flag == "listChanged" && is_incomplete) {
                capability.insert(flag.to_owned(), true.into());
            }
        }
        all.insert(name.to_owned(), Value::Object(capability));
    }
    for name in ["completions", "logging"] {
        if said.iter().any(|(_, value)| value["capabilities"][name].is_object()) {
            all.insert(name.to_owned(), json!({}));
        }
    }
    Value::Object(all)
}

/// The message with another name at this path of its parameters, whose length is one or two.
fn with_name(message: ClientMessage, path: &[&'static str], name: &str) -> ClientMessage {
    let name = Value::from(name).to_string();
    let set = match path {
        [outer, inner] => (*outer, with_member(message.param(&[outer]).unwrap_or("{}"), inner, &name)),
        [only, ..] => (*only, name),
        [] => return message,
    };
    let edit = ParamsEdit { set: vec![set], ..ParamsEdit::default() };
    let body = message.clone().into_body(None, &edit);
    parse_line(body.into_bytes()).ok().and_then(|mut all| all.pop()).unwrap_or(message)
}

/// A JSON object with another value of one member.
fn with_member(object: &str, name: &str, value: &str) -> String {
    let found = super::wire::members_of(object).unwrap_or_default().into_iter().find(|(member, _)| member == name);
    match found {
        Some((_, range)) => format!("{}{value}{}", &object[..range.start], &object[range.end..]),
        None => object.to_owned(),
    }
}

/// The name of a server among several, as a prefix of names of tools.
#[must_use]
pub fn exposed_server_name(target: &Target) -> String {
    target.short_name().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}
