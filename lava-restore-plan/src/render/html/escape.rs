use std::fmt::{self, Display, Formatter};

use super::super::{one_line, quote};
use crate::name::is_hidden;

/// Text that came with a plan, as HTML that shows just this text, wherever it stands: between tags
/// or in a quoted attribute.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        escape(f, &one_line(self.0))
    }
}

/// A command as HTML, each argument in an element of its own, so that lines break between them. It
/// must be copied as it is, so characters that can't be seen stay in it, but each alone and marked,
/// and none can turn the direction of what follows.
pub(super) struct Command<'a>(pub(super) &'a [String]);

impl Display for Command<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (position, word) in self.0.iter().enumerate() {
            f.write_str(if position > 0 { " <span>" } else { "<span>" })?;
            for c in quote(word, position == 0).chars() {
                let text = c.encode_utf8(&mut [0; 4]).to_owned();
                if is_hidden(c) {
                    let code = u32::from(c);
                    write!(f, r#"<bdi class="unseen" data-code="U+{code:04X}">"#)?;
                    escape(f, &text)?;
                    f.write_str("</bdi>")?;
                } else {
                    escape(f, &text)?;
                }
            }
            f.write_str("</span>")?;
        }
        Ok(())
    }
}

fn escape(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            '&' => f.write_str("&amp;")?,
            '<' => f.write_str("&lt;")?,
            '>' => f.write_str("&gt;")?,
            '"' => f.write_str("&quot;")?,
            '\'' => f.write_str("&#39;")?,
            // A parser drops or replaces other controls, and takes a return for a newline.
            c if c.is_control() && !matches!(c, '\n' | '\t') => f.write_str("\u{fffd}")?,
            c => write!(f, "{c}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_markup() {
        let text = r#"</script><img src=x onerror="e()">'&amp;"#;
        let expected = "&lt;/script&gt;&lt;img src=x onerror=&quot;e()&quot;&gt;&#39;&amp;amp;";
        assert_eq!(Text(text).to_string(), expected);
    }

    #[test]
    fn what_can_not_be_seen_is_marked_in_a_command_and_replaced_elsewhere() {
        assert_eq!(
            Text("a\u{202e}b\u{1b}[2J\nc").to_string(),
            "a\u{fffd}b\u{fffd}[2J\u{fffd}c"
        );
        let argv = ["test".to_owned(), "-e".to_owned(), "/a\u{202e}b".to_owned()];
        let marked = "<bdi class=\"unseen\" data-code=\"U+202E\">\u{202e}</bdi>";
        let path = format!("<span>&#39;/a{marked}b&#39;</span>");
        let expected = format!("<span>test</span> <span>-e</span> {path}");
        assert_eq!(Command(&argv).to_string(), expected);
    }
}
