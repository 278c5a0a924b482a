//! A page, read: its blocks of code in order, and the commands of a `console` block with what each prints.

/// A fenced block.
#[derive(Debug, PartialEq)]
pub struct Block {
    /// The number of its first line, from 1.
    pub line: usize,
    /// What stands behind the fence: `yaml`, `yaml fragment`, `console`, `sh`, `text`.
    pub kind: String,
    pub text: String,
}

/// A command of a `console` block, and what the page shows below it.
#[derive(Debug, PartialEq)]
pub struct Command {
    pub line: String,
    pub shown: String,
}

/// The blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => {
                open = Some(Block {
                    line: number + 2,
                    kind: kind.trim().to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text += line;
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed: {open:?}");
    blocks
}

impl Block {
    /// The name of the file that a block of YAML is, by its first line: `# groups.yaml`.
    pub fn file(&self) -> Option<&str> {
        let name = self.text.lines().next()?.strip_prefix("# ")?;
        (self.kind == "yaml" && name.ends_with(".yaml")).then_some(name)
    }

    /// The commands of a `console` block.
    pub fn commands(&self) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        for line in self.text.lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(line), _) => commands.push(Command {
                    line: line.to_owned(),
                    shown: String::new(),
                }),
                (None, Some(command)) => {
                    command.shown += line;
                    command.shown.push('\n');
                }
                (None, None) => panic!("line {}: no command stands before {line:?}", self.line),
            }
        }
        commands
    }
}
