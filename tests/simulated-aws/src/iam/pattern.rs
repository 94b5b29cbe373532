//! Text patterns of policy documents: wildcards, policy variables, and ARNs compared part by part.
//!
//! `*` stands for any run of characters and `?` for exactly one. In policies of version 2012-10-17 `${key}` stands for
//! the single value that the request's context has for the key, `${key, 'default'}` falls back to the default when the
//! key is absent, and `${*}`, `${?}`, `${$}` stand for these characters themselves. A variable that cannot be resolved makes
//! the match undecidable (`None`): AWS then treats the whole statement as not applying. What a variable stands for
//! is compared literally, wildcards in it included.
//! (IAM User Guide, "IAM policy elements: Variables and tags" and "IAM JSON policy elements: Resource".)

use super::context::Context;

/// Which characters of a text are special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    /// `*` and `?` are wildcards.
    pub wildcards: bool,
    /// `${…}` is a policy variable (version 2012-10-17 only).
    pub variables: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Char(char),
    One,
    Many,
    Variable { key: String, default: Option<String> },
}

/// A parsed text with wildcards and variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pieces: Vec<Piece>,
}

impl Pattern {
    /// Parses a text; an unfinished or empty `${…}` is refused with the reason.
    pub(super) fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if syntax.variables && rest.starts_with("${") {
                let end = rest.find('}').ok_or("a policy variable is not closed")?;
                pieces.push(variable(&rest[2..end])?);
                rest = &rest[end + 1..];
                continue;
            }
            pieces.push(match first {
                '*' if syntax.wildcards => Piece::Many,
                '?' if syntax.wildcards => Piece::One,
                other => Piece::Char(other),
            });
            rest = &rest[first.len_utf8()..];
        }
        Ok(Self { pieces })
    }

    /// Whether the value matches; `None` when a variable has no single value in the context.
    pub(super) fn matches(&self, value: &str, context: &Context, ignore_case: bool) -> Option<bool> {
        let fold = |c: char| if ignore_case { c.to_ascii_lowercase() } else { c };
        let mut glob = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            match piece {
                Piece::Char(c) => glob.push(Glob::Char(fold(*c))),
                Piece::One => glob.push(Glob::One),
                Piece::Many => glob.push(Glob::Many),
                Piece::Variable { key, default } => {
                    let text = match (context.get(key), default) {
                        (Some([single]), _) => single,
                        (None, Some(default)) => default,
                        _ => return None,
                    };
                    glob.extend(text.chars().map(|c| Glob::Char(fold(c))));
                }
            }
        }
        Some(glob_matches(&glob, &value.chars().map(fold).collect::<Vec<_>>()))
    }

    /// The context keys that the text's variables name.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable { key, .. } => Some(key.as_str()),
            _ => None,
        })
    }
}

fn variable(inside: &str) -> Result<Piece, String> {
    if let "*" | "?" | "$" = inside {
        return Ok(Piece::Char(inside.chars().next().unwrap_or('$')));
    }
    let (key, default) = match inside.split_once(',') {
        None => (inside, None),
        Some((key, default)) => {
            let quoted = default.trim().strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
            (
                key,
                Some(quoted.ok_or_else(|| format!("the default in ${{{inside}}} is not in single quotes"))?.to_owned()),
            )
        }
    };
    let key = key.trim();
    if key.is_empty() || !key.contains(':') {
        return Err(format!("${{{inside}}} is not a policy variable"));
    }
    Ok(Piece::Variable { key: key.to_owned(), default })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Glob {
    Char(char),
    One,
    Many,
}

/// Linear backtracking to the last `*` only, which is all that a glob needs.
fn glob_matches(glob: &[Glob], text: &[char]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(Glob::Many) => {
                retry = Some((g + 1, t));
                g += 1;
            }
            Some(Glob::One) => (g, t) = (g + 1, t + 1),
            Some(Glob::Char(c)) if *c == text[t] => (g, t) = (g + 1, t + 1),
            _ => match retry {
                Some((after, from)) => {
                    (g, t) = (after, from + 1);
                    retry = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|rest| *rest == Glob::Many)
}

/// An ARN with wildcards: each of its six parts is matched separately, so that a wildcard never spans a colon, save in
/// the last part, which may hold colons of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ArnPattern {
    parts: Vec<Pattern>,
}

/// What to do with an ARN of fewer than six parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incomplete {
    /// The missing parts become `*`, as AWS does in `Resource`.
    Complete,
    /// The ARN is refused.
    Refuse,
}

impl ArnPattern {
    /// Parses an ARN pattern; what does not begin with `arn:` is refused.
    pub(super) fn parse(text: &str, variables: bool, incomplete: Incomplete) -> Result<Self, String> {
        let mut whole = Pattern::parse(text, Syntax { wildcards: true, variables })?.pieces.into_iter();
        let mut parts = Vec::new();
        while parts.len() < 5 {
            let mut part = Vec::new();
            let mut ended = true;
            for piece in whole.by_ref() {
                if piece == Piece::Char(':') {
                    ended = false;
                    break;
                }
                part.push(piece);
            }
            parts.push(Pattern { pieces: part });
            if ended {
                break;
            }
        }
        if parts.len() == 5 {
            let rest: Vec<Piece> = whole.collect();
            if !rest.is_empty() {
                parts.push(Pattern { pieces: rest });
            }
        }
        if parts[0].pieces != "arn".chars().map(Piece::Char).collect::<Vec<_>>() {
            return Err("it is not an ARN".to_owned());
        }
        if parts.len() < 6 && incomplete == Incomplete::Refuse {
            return Err("the ARN has fewer than six parts".to_owned());
        }
        parts.resize(6, Pattern { pieces: vec![Piece::Many] });
        Ok(Self { parts })
    }

    /// Whether the value is an ARN that matches; `None` when a variable has no single value in the context.
    pub(super) fn matches(&self, value: &str, context: &Context) -> Option<bool> {
        let values: Vec<&str> = value.splitn(6, ':').collect();
        let mut all = values.len() == 6;
        for (part, value) in self.parts.iter().zip(values) {
            all &= part.matches(value, context, false)?;
        }
        Some(all)
    }

    /// The context keys that variables name, each with whether it stands in the resource part.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, bool)> {
        self.parts.iter().enumerate().flat_map(|(index, part)| part.variables().map(move |key| (key, index == 5)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> Option<bool> {
        let context = Context::new().with("aws:username", "ann*").with_all("events:source", ["a", "b"]);
        Pattern::parse(pattern, Syntax { wildcards: true, variables: true })
            .expect(pattern)
            .matches(value, &context, false)
    }

    #[test]
    fn wildcards_and_variables() {
        for (pattern, value, expected) in [
            ("", "", Some(true)),
            ("*", "", Some(true)),
            ("?", "", Some(false)),
            ("a?c", "abc", Some(true)),
            ("a*c", "abbcbc", Some(true)),
            ("a*c", "abbcbd", Some(false)),
            ("*ab*ab", "abxabab", Some(true)),
            ("*ab*ab", "ab", Some(false)),
            ("A", "a", Some(false)),
            ("${aws:username}", "ann*", Some(true)),
            ("${AWS:UserName}", "ann*", Some(true)),
            ("${aws:username}", "anna", Some(false)),
            ("${*}x", "*x", Some(true)),
            ("${*}x", "yx", Some(false)),
            ("${?}${$}", "?$", Some(true)),
            ("${aws:userid}", "", None),
            ("${aws:userid, 'nobody'}", "nobody", Some(true)),
            ("${aws:username, 'nobody'}", "nobody", Some(false)),
            ("${events:source}", "a", None),
        ] {
            assert_eq!(matches(pattern, value), expected, "{pattern} against {value}");
        }
    }

    #[test]
    fn malformed_variables_are_refused() {
        for text in ["${", "${}", "a${aws:username", "${username}", "${aws:username, nobody}"] {
            assert!(Pattern::parse(text, Syntax { wildcards: true, variables: true }).is_err(), "{text}");
            assert!(Pattern::parse(text, Syntax { wildcards: true, variables: false }).is_ok(), "{text}");
        }
    }

    #[test]
    fn arns_are_compared_part_by_part() {
        for (pattern, value, expected) in [
            ("arn:aws:ecr:*:111111111111:repository/*", "arn:aws:ecr:eu-west-1:111111111111:repository/a/b", true),
            (
                "arn:aws:ecr:*:111111111111:repository/*",
                "arn:aws:ecr:eu-west-1:222222222222:x:111111111111:repository/a",
                false,
            ),
            ("arn:aws:ecr", "arn:aws:ecr:eu-west-1:111111111111:repository/a", true),
            ("arn:aws:iam::*", "arn:aws:iam::111111111111:role/a", true),
            ("arn:aws:logs:*:*:log-group:a:*", "arn:aws:logs:eu-west-1:111111111111:log-group:a:log-stream:b", true),
            ("arn:aws:ecr:*:*:*", "*", false),
        ] {
            let parsed = ArnPattern::parse(pattern, true, Incomplete::Complete).expect(pattern);
            assert_eq!(parsed.matches(value, &Context::new()), Some(expected), "{pattern} against {value}");
        }
        assert!(ArnPattern::parse("arn:aws:ecr", true, Incomplete::Refuse).is_err());
        assert!(ArnPattern::parse("a:b:c:d:e:f", true, Incomplete::Complete).is_err());
    }
}
