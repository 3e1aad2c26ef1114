//! The code blocks and tables of a Markdown document.

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The document's path.
    pub document: String,
    /// The number of the first line of its text, counted from 1.
    pub line: usize,
    /// The word after the opening fence; may be empty.
    pub language: String,
    /// The lines between the fences, each with its newline.
    pub text: String,
}

impl Block {
    /// The document and the line, for messages.
    pub fn location(&self) -> String {
        format!("{}:{}", self.document, self.line)
    }
}

/// All fenced blocks of a document with this path and text, in order.
///
/// Panics if the last block is not closed.
pub fn blocks(document: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(text.lines()) {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block {
                    document: document.to_owned(),
                    line: number + 1,
                    language: language.trim().to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "{document}: a block is not closed");
    blocks
}

/// The cells of all table rows from `heading` to the next heading of level 2, without the white space around them. The
/// header and separator rows are included.
///
/// Panics if there is no such heading.
pub fn rows(document: &str, heading: &str) -> Vec<Vec<String>> {
    let mut lines = document.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "there is no {heading}");
    lines
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn blocks_are_found_with_their_lines() {
    let found = blocks("a.md", "# a\n\n```sh\necho\nls\n```\n\n```json\n{}\n```\n");
    let found: Vec<_> = found
        .iter()
        .map(|block| (block.line, &*block.language, &*block.text))
        .collect();
    assert_eq!(found, [(4, "sh", "echo\nls\n"), (9, "json", "{}\n")]);
}
