//! Untrusted text on a terminal.

/// A text on one line that says what it contains: characters that move the cursor, reverse the writing direction or may
/// be displayed as nothing are written by their number, such as `\u{202e}`. Spaces of any width stay.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if c.is_control() || is_line_break(c) || is_ignorable(c) || is_annotation(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The separators of lines and paragraphs, which are not control characters.
fn is_line_break(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// The property `Default_Ignorable_Code_Point` of Unicode 17 (DerivedCoreProperties.txt), together with all controls of
/// the writing direction: joiners, fillers, variation selectors, tags.
fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The marks around interlinear annotations, which are invisible.
fn is_annotation(c: char) -> bool {
    matches!(c, '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_without_a_shape_are_written_by_their_number() {
        assert_eq!(
            visible("é \u{1b}[31m\n\u{202e}x\u{200b}\u{85}"),
            "é \\u{1b}[31m\\n\\u{202e}x\\u{200b}\\u{85}"
        );
        for c in [
            '\u{180e}',
            '\u{2028}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{fff9}',
            '\u{e0041}',
            '\u{e0100}',
        ] {
            let expected = format!("a\\u{{{:x}}}b", u32::from(c));
            assert_eq!(visible(&format!("a{c}b")), expected);
        }
    }

    #[test]
    fn what_can_be_seen_is_unchanged() {
        let text = "naïve 日本語 한글 עברית 😀 a\u{a0}b\u{3000}c";
        assert_eq!(visible(text), text);
    }
}
