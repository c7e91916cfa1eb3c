//! DER elements of one-byte tags and at most 64 KiB, shortest lengths only (X.690 §10.1).

/// One element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    /// Tag, length and content.
    pub(super) whole: &'a [u8],
    pub(super) content: &'a [u8],
}

/// Elements one after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

impl<'a> Elements<'a> {
    /// The next element, whatever it is; `None` also where nothing is left.
    pub(super) fn any(&mut self) -> Option<Element<'a>> {
        let (element, rest) = read(self.0)?;
        self.0 = rest;
        Some(element)
    }

    /// The next element, if it has this tag.
    pub(super) fn one(&mut self, tag: u8) -> Option<Element<'a>> {
        let (element, rest) = read(self.0).filter(|(element, _)| element.tag == tag)?;
        self.0 = rest;
        Some(element)
    }

    /// The elements inside of the next one, if it has this tag.
    pub(super) fn within(&mut self, tag: u8) -> Option<Self> {
        self.one(tag).map(|element| Self(element.content))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every element of this tag up to the end, at most `most`; `None` if there is anything else.
    pub(super) fn all(mut self, tag: u8, most: usize) -> Option<Vec<Element<'a>>> {
        let mut elements = Vec::new();
        while !self.is_empty() {
            elements.push(self.one(tag).filter(|_| elements.len() < most)?);
        }
        Some(elements)
    }
}

fn read(input: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, after) = input.split_first()?;
    let (&first, after) = after.split_first()?;
    let (length, after) = match first {
        0..=0x7f => (usize::from(first), after),
        0x81 => {
            let (&length, after) = after.split_first()?;
            (Some(usize::from(length)).filter(|n| *n > 0x7f)?, after)
        }
        0x82 => {
            let (length, after) = after.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes(*length));
            (Some(length).filter(|n| *n > 0xff)?, after)
        }
        _ => return None,
    };
    let (content, rest) = after.split_at_checked(length)?;
    let (whole, _) = input.split_at_checked(input.len().checked_sub(rest.len())?)?;
    // A tag number of 31 says that more bytes of it follow.
    (tag & 0x1f != 0x1f).then_some((
        Element {
            tag,
            whole,
            content,
        },
        rest,
    ))
}
