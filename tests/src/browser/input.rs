//! User input: clicks, typed text, key presses.

use fantoccini::{
    Locator,
    actions::{InputSource, KeyAction, KeyActions},
    key::Key,
};

use super::Browser;
use crate::wait::eventually;

impl Browser {
    /// Clicks on an element as soon as it exists and nothing covers it.
    pub async fn click(&self, selector: &str) {
        eventually(&format!("a click on {selector}"), async || {
            // Found again each time, because the page may have redrawn it.
            let found = self.client.find(Locator::Css(selector)).await;
            let clicked = found.map_err(|err| err.to_string())?.click().await;
            clicked.map_err(|err| err.to_string())
        })
        .await;
    }

    /// Replaces the content of a field by typing a text.
    pub async fn fill(&self, selector: &str, text: &str) {
        eventually(&format!("{selector} can be typed into"), async || {
            let found = self.client.find(Locator::Css(selector)).await;
            let field = found.map_err(|err| err.to_string())?;
            field.clear().await.map_err(|err| err.to_string())?;
            let typed = field.send_keys(text).await;
            typed.map_err(|err| err.to_string())
        })
        .await;
    }

    /// Presses keys one after the other, wherever the focus is.
    pub async fn press(&self, keys: &[Key]) {
        self.strike(keys.iter().map(|&key| key.into())).await;
    }

    /// Types a text wherever the focus is.
    pub async fn types(&self, text: &str) {
        self.strike(text.chars()).await;
    }

    async fn strike(&self, keys: impl Iterator<Item = char>) {
        let keyboard = KeyActions::new("keyboard".to_owned());
        let actions = keys.fold(keyboard, |actions, value| {
            let down = actions.then(KeyAction::Down { value });
            down.then(KeyAction::Up { value })
        });
        let pressed = self.client.perform_actions(actions).await;
        pressed.expect("keys can be pressed");
    }
}
