//! The OpenAPI document agrees with the service: routes, methods, parameters, examples and responses.

mod examples;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;

/// An operation of the document.
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    documented: &'a Value,
}

impl Operation<'_> {
    /// The names of its query parameters.
    fn query(&self) -> BTreeSet<&str> {
        let parameters = self.documented["parameters"]
            .as_array()
            .into_iter()
            .flatten();
        parameters
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect()
    }

    fn name(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.path)
    }
}

struct Document(Value);

impl Document {
    async fn of(api: &Fixture) -> Self {
        let (status, body) = send(api, Request::get("/openapi.json"), Body::empty()).await;
        assert_eq!(status, 200);
        Self(serde_json::from_slice(&body).unwrap())
    }

    fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().iter();
                methods.map(move |(method, documented)| Operation {
                    method,
                    path,
                    documented,
                })
            })
            .collect()
    }

    /// A validator for a schema that allows only the members that it names.
    fn strict(&self, schema: &Value) -> jsonschema::Validator {
        let mut components = self.0["components"].clone();
        let schemas = components["schemas"].as_object_mut().unwrap();
        // Schemas that are part of another schema leave the check to it.
        let mut open: Vec<_> = schemas
            .values()
            .flat_map(|schema| named(&schema["allOf"]))
            .collect();
        let mut parts = BTreeSet::new();
        while let Some(part) = open.pop() {
            open.extend(named(&schemas[&part]["oneOf"]));
            parts.insert(part);
        }
        for (name, schema) in schemas {
            if !parts.contains(name) {
                close(schema);
            }
        }
        let whole = json!({"components": components, "allOf": [schema]});
        jsonschema::draft202012::new(&whole).unwrap()
    }

    fn assert_fits(&self, schema: &Value, value: &Value, what: &str) {
        let errors: Vec<_> = self
            .strict(schema)
            .iter_errors(value)
            .map(|err| err.to_string())
            .collect();
        assert!(errors.is_empty(), "{what}: {errors:?}");
    }
}

/// The schemas that a list refers to.
fn named(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    let names = items.filter_map(|item| item["$ref"].as_str()?.rsplit('/').next());
    names.map(str::to_owned).collect()
}

/// Makes an object's schema refuse properties that it does not name, unless it has a rule for them.
fn close(schema: &mut Value) {
    let is_object = schema.get("properties").is_some() || schema.get("allOf").is_some();
    if is_object && schema.get("additionalProperties").is_none() {
        schema["unevaluatedProperties"] = false.into();
    }
}

async fn send(api: &Fixture, request: axum::http::request::Builder, body: Body) -> (u16, Bytes) {
    let answer = api.router.clone().oneshot(request.body(body).unwrap());
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    (
        status,
        answer.into_body().collect().await.unwrap().to_bytes(),
    )
}

/// The routes that are not operations of the API: the pages, their files, and the document itself.
const FILES: [&str; 6] = [
    "/",
    "/docs",
    "/docs/{file}",
    "/favicon.ico",
    "/openapi.json",
    "/page/{file}",
];

/// The forms of the page.
const FORMS: [&str; 2] = ["/sign-in", "/sign-out"];

/// A path with its parameters filled in.
fn filled(path: &str) -> String {
    path.replace("{id}", "1")
        .replace("/docs/{file}", "/docs/reader.js")
        .replace("{file}", "page.js")
}

#[tokio::test]
async fn every_route_but_those_of_files_is_documented_and_takes_the_documented_methods() {
    let api = Fixture::new().await;
    let document = Document::of(&api).await;
    let mut documented: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for operation in document.operations() {
        let methods = documented.entry(operation.path).or_default();
        methods.insert(operation.method.to_uppercase());
        if operation.method == "get" {
            methods.insert("HEAD".to_owned());
        }
    }
    for file in FILES {
        let methods = ["GET", "HEAD"].map(str::to_owned).into();
        let is_documented = documented.insert(file, methods).is_some();
        assert!(!is_documented, "{file} is for browsers");
    }
    for form in FORMS {
        documented.insert(form, ["POST".to_owned()].into());
    }
    for (path, methods) in &documented {
        let (status, headers) = brewed(&api, &filled(path)).await;
        assert_eq!(status, 405, "{path}");
        let allowed = headers[header::ALLOW].to_str().unwrap().split(',');
        let allowed: BTreeSet<_> = allowed.map(str::to_owned).collect();
        assert_eq!(&allowed, methods, "{path}");
    }
    let documented: BTreeSet<_> = documented.into_keys().map(str::to_owned).collect();
    assert_eq!(routes(&api.router), documented);
    assert_eq!(brewed(&api, "/docs/deeper/down").await.0, 404);
}

/// The paths of a router, which exposes them only in its `Debug` output.
pub fn routes(router: &Router) -> BTreeSet<String> {
    let debug = format!("{router:?}");
    let (_, paths) = debug.split_once("paths: {").unwrap();
    let (paths, _) = paths.split_once("fallback_router").unwrap();
    let paths = paths.split("RouteId(").skip(1);
    paths
        .map(|path| path.split('"').nth(1).unwrap().to_owned())
        .collect()
}

/// The response to a method that no route takes.
pub async fn brewed(api: &Fixture, path: &str) -> (u16, axum::http::HeaderMap) {
    let request = Request::builder().method("BREW").uri(path);
    let request = request.body(Body::empty()).unwrap();
    let answer = api.router.clone().oneshot(request).await.unwrap();
    (answer.status().as_u16(), answer.headers().clone())
}

/// How a token or what replaces it is sent.
#[tokio::test]
async fn every_operation_that_needs_a_token_takes_it_in_each_documented_way() {
    let document = Document::of(&Fixture::new().await).await;
    let schemes = document.0["components"]["securitySchemes"].as_object();
    let schemes: BTreeMap<_, _> = schemes.unwrap().iter().collect();
    let kinds = schemes.iter().map(|(&name, scheme)| {
        let about = scheme["description"].as_str();
        assert!(about.is_some_and(|about| !about.is_empty()), "{name}");
        (name.as_str(), &scheme["type"], &scheme["scheme"])
    });
    let kinds: Vec<_> = kinds.collect();
    let expected = json!([
        ["basic", "http", "basic"],
        ["bearer", "http", "bearer"],
        ["certificate", "mutualTLS", null],
    ]);
    assert_eq!(json!(kinds), expected);
    // OpenAPI 3.0 has no mutualTLS.
    assert!(document.0["openapi"].as_str().unwrap().starts_with("3.1"));
    let ways: Vec<_> = ["bearer", "basic", "certificate"]
        .iter()
        .map(|name| json!({*name: []}))
        .collect();
    for operation in document.operations() {
        let needs = operation.documented["security"].as_array().unwrap();
        let is_optional = needs.first() == Some(&json!({}));
        let needs = &needs[usize::from(is_optional)..];
        assert!(needs.is_empty() || needs == ways, "{}", operation.name());
        let says_so = operation.documented["description"]
            .as_str()
            .is_some_and(|about| about.contains("Scope: "));
        assert_eq!(says_so, !needs.is_empty(), "{}", operation.name());
    }
}

#[tokio::test]
async fn the_documented_parameters_are_those_that_are_accepted() {
    let api = Fixture::new().await;
    let document = Document::of(&api).await;
    let mut compared = 0;
    for operation in document.operations() {
        if operation.documented["responses"].get("422").is_none() || operation.method != "get" {
            continue;
        }
        let path = format!("{}?nothing=1", operation.path);
        let (_, body) = send(&api, Request::get(path), Body::empty()).await;
        let problem: Value = serde_json::from_slice(&body).unwrap();
        let message = problem["errors"][0]["message"].as_str().unwrap();
        let (_, names) = message.split_once("is not a known parameter; ").unwrap();
        let names = names.strip_prefix("expected one of: ").into_iter();
        let names = names.flat_map(|names| names.split(", ")).collect();
        assert_eq!(operation.query(), names, "{}", operation.path);
        compared += 1;
    }
    assert_eq!(compared, 16);
}

#[tokio::test]
async fn the_files_of_the_api_reader_are_served_and_its_page_has_no_inline_script() {
    let api = Fixture::new().await;
    let page = api.get("/docs").await;
    assert!(page.starts_with("200 content-type: text/html"), "{page}");
    let mut loaded = 0;
    for tag in page
        .split('<')
        .filter(|tag| tag.starts_with("script") || tag.starts_with("link"))
    {
        let (_, address) = tag
            .split_once("src=\"")
            .or_else(|| tag.split_once("href=\""))
            .unwrap();
        let address = address.split('"').next().unwrap();
        let (status, _) = send(&api, Request::get(format!("/{address}")), Body::empty()).await;
        assert_eq!(status, 200, "{address}");
        loaded += 1;
    }
    assert_eq!(loaded, 5);
    assert!(
        !page.contains("style=") && !page.contains("onload"),
        "{page}"
    );
    assert!(
        page.matches("<script").count() == page.matches("></script>").count(),
        "{page}"
    );
    assert!(api.get("/docs/nothing.js").await.starts_with("404 "));
}

#[tokio::test]
async fn head_is_answered_like_get_without_the_body() {
    let api = Fixture::new().await;
    api.append(&[&event("1"), "noise"]).await;
    let document = Document::of(&api).await;
    let mut asked = 0;
    let operations = document.operations();
    let gets = operations.iter().filter(|one| one.method == "get");
    for path in gets.map(|one| one.path).chain(FILES) {
        let required = match path {
            "/event" => "?topic=a&event_id=1",
            _ => "",
        };
        let path = filled(path) + required;
        let mut answers = Vec::new();
        for method in ["GET", "HEAD"] {
            let request = Request::builder().method(method).uri(&path);
            let request = request.body(Body::empty()).unwrap();
            let answer = api.router.clone().oneshot(request).await.unwrap();
            let content_type = answer.headers().get(header::CONTENT_TYPE).cloned();
            answers.push((answer.status(), content_type));
            if method == "HEAD" {
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                assert!(body.is_empty(), "{path}");
            }
        }
        assert_eq!(answers[0], answers[1], "{path}");
        asked += 1;
    }
    assert!(asked > 15, "{asked}");
}
