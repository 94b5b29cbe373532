//! From a failing history to a short one.

use super::action::History;

/// More attempts than this are not made.
const ATTEMPTS: usize = 300;

/// Leaves actions out, many at once and then one by one, as long as `fails`. What is left fails, and (unless it took too
/// many attempts) would not without any one of its actions.
pub fn shortest(history: &History, mut fails: impl FnMut(&History) -> bool) -> History {
    let mut shortest = history.clone();
    let mut attempts = 0;
    let mut size = shortest.actions.len().div_ceil(2);
    while size > 0 {
        let (mut at, mut shrank) = (0, false);
        while at < shortest.actions.len() && attempts < ATTEMPTS {
            let mut without = shortest.clone();
            without.actions.drain(at..(at + size).min(shortest.actions.len()));
            attempts += 1;
            if fails(&without) {
                (shortest, shrank) = (without, true);
            } else {
                at += size;
            }
        }
        if size > 1 {
            size /= 2;
        } else if !shrank || attempts >= ATTEMPTS {
            size = 0;
        }
    }
    shortest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histories::{Action, generate};

    #[test]
    fn only_what_a_failure_needs_is_left() {
        let history = generate(1);
        let registers = |history: &History| {
            history.actions.iter().filter(|timed| matches!(timed.action, Action::Register { .. })).count()
        };
        assert!(registers(&history) >= 2, "{history:#?}");
        let shortest = shortest(&history, |history| registers(history) >= 2);
        assert_eq!((registers(&shortest), shortest.actions.len()), (2, 2));
    }
}
