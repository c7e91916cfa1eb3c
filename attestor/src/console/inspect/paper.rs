//! Text laid out for the width at hand: what does not fit goes on below where it began.

use super::super::output;

/// Text under way.
pub(super) struct Paper {
    width: Option<usize>,
    text: String,
}

impl Paper {
    pub(super) fn new() -> Self {
        Self {
            width: output::width().map(usize::from),
            text: String::new(),
        }
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    pub(super) fn line(&mut self, text: &str) {
        self.entry("", text);
    }

    /// A line that has its width already.
    pub(super) fn unbroken(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// `head`, and beside it `body`.
    pub(super) fn entry(&mut self, head: &str, body: &str) {
        let indent = head.chars().count();
        let room = self.width.map(|width| width.saturating_sub(indent).max(20));
        for (number, part) in wrapped(body, room).into_iter().enumerate() {
            match number {
                0 => self.text.push_str(head),
                _ => self.text.extend(std::iter::repeat_n(' ', indent)),
            }
            self.text.push_str(&part);
            let end = self.text.trim_end_matches(' ').len();
            self.text.truncate(end);
            self.text.push('\n');
        }
    }

    pub(super) fn text(self) -> String {
        self.text.trim_end().to_owned()
    }
}

/// Broken at spaces; inside a word only if it is longer than the room.
fn wrapped(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else {
        return vec![text.to_owned()];
    };
    let mut rest: Vec<char> = text.chars().collect();
    let mut parts = Vec::new();
    while rest.len() > room {
        let space = rest
            .iter()
            .take(room + 1)
            .rposition(|letter| *letter == ' ')
            .filter(|at| *at > 0);
        let at = space.unwrap_or(room);
        let tail = rest.split_off(at);
        parts.push(rest.into_iter().collect());
        rest = tail
            .into_iter()
            .skip(usize::from(space.is_some()))
            .collect();
    }
    parts.push(rest.into_iter().collect());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_where_a_line_breaks() {
        assert_eq!(wrapped("a b c", None), ["a b c"]);
        assert_eq!(wrapped("", Some(4)), [""]);
        assert_eq!(wrapped("ab cd ef", Some(5)), ["ab cd", "ef"]);
        assert_eq!(wrapped("ab cd ef", Some(4)), ["ab", "cd", "ef"]);
        assert_eq!(wrapped("abcdefgh ij", Some(3)), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrapped(" ab", Some(2)), [" a", "b"]);
        let mut paper = Paper {
            width: Some(30),
            text: String::new(),
        };
        paper.entry("head  ", "one two three four five six seven");
        assert_eq!(
            paper.text(),
            "head  one two three four five\n      six seven"
        );
    }
}
