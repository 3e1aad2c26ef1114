//! Clients generated from the document at `/openapi.json` by third-party tools: they are generated, imported and
//! used.
//!
//! `tests/run.sh` installs the generators in the environment of `E2E_PYTHON`, and sets `E2E_JAVA` to the program that
//! one of them needs. Without these, the tests print that they are skipped.

use e2e::{System, browser::needed};

use crate::publish::senders::run;

#[tokio::test]
async fn a_client_of_openapi_python_client_reads_the_outcomes_of_its_events() {
    let system = System::start().await;
    let arguments = [system.api().url(), "openapi-python-client"];
    if run("network/clients/generated.py", &arguments)
        .await
        .is_some()
    {
        assert_eq!(system.settled().await.of("clients.a"), [4, 2, 2]);
    }
}

#[tokio::test]
async fn a_client_of_openapi_generator_reads_the_outcomes_of_its_events() {
    let Some(java) = needed("E2E_JAVA", "Java") else {
        return;
    };
    let system = System::start().await;
    let java = java.to_str().expect("a path is text");
    let arguments = [system.api().url(), "openapi-generator", java];
    if run("network/clients/generated.py", &arguments)
        .await
        .is_some()
    {
        assert_eq!(system.settled().await.of("clients.b"), [4, 2, 2]);
    }
}
