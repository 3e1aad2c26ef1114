//! User input: clicks, drags, typed text, key presses.

use fantoccini::{
    Locator,
    actions::{
        ActionSequence, InputSource, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions,
        PointerAction, TouchActions,
    },
    key::Key,
};

use super::Browser;
use crate::wait::eventually;

/// What is dragged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointer {
    /// A mouse.
    Mouse,
    /// A finger.
    Finger,
}

impl Browser {
    /// Drags over an element that is in sight, from one part of its width to another, such as 0.25.
    pub async fn drag(&self, pointer: Pointer, selector: &str, from: f64, to: f64) {
        let found = eventually(selector, async || {
            let found = self.client.find(Locator::Css(selector)).await;
            found.map_err(|err| err.to_string())
        })
        .await;
        let (left, top, width, height) = found.rectangle().await.expect("it has a place");
        let above = self.value("scrollY").await.as_f64().expect("a number");
        let y = top - above + height / 2.0;
        let at = |part: f64| PointerAction::MoveTo {
            duration: None,
            x: (left + width * part).round(),
            y: y.round(),
        };
        let button = MOUSE_BUTTON_LEFT;
        let steps = [
            at(from),
            PointerAction::Down { button },
            at(f64::midpoint(from, to)),
            at(to),
            PointerAction::Up { button },
        ];
        let actions: ActionSequence = match pointer {
            Pointer::Mouse => all(MouseActions::new("mouse".to_owned()), steps).into(),
            Pointer::Finger => all(TouchActions::new("finger".to_owned()), steps).into(),
        };
        let dragged = self.client.perform_actions(actions).await;
        dragged.expect("it can be dragged over");
    }

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

    /// Presses keys one after the other while another is held.
    pub async fn chord(&self, held: Key, keys: &[Key]) {
        let held: char = held.into();
        let keyboard = KeyActions::new("keyboard".to_owned());
        let mut actions = keyboard.then(KeyAction::Down { value: held });
        for &key in keys {
            let value = key.into();
            actions = actions
                .then(KeyAction::Down { value })
                .then(KeyAction::Up { value });
        }
        let actions = actions.then(KeyAction::Up { value: held });
        let pressed = self.client.perform_actions(actions).await;
        pressed.expect("keys can be pressed");
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

fn all<S: InputSource>(source: S, actions: impl IntoIterator<Item = S::Action>) -> S {
    actions.into_iter().fold(source, S::then)
}
