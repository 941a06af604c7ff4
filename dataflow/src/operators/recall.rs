//! Reading back what an operator no longer keeps in memory, while the epoch that needs it waits.

use crossbeam_channel::{Receiver, Sender, unbounded};

use citytide_store::session::{Session, Wake};

/// A session that answers one question at a time and wakes the operator when the answer is there.
pub struct Recall<Question, Answer> {
    session: Session<Question>,
    answers: Receiver<Answer>,
    is_waiting: bool,
}

impl<Question: Send + 'static, Answer> Recall<Question, Answer> {
    /// Starts the session.
    pub fn open(
        open: impl FnOnce(Sender<Answer>, Wake) -> Session<Question>,
        wake: Wake,
    ) -> Recall<Question, Answer> {
        let (sender, answers) = unbounded();
        Recall { session: open(sender, wake), answers, is_waiting: false }
    }

    /// Whether an answer is still to come; one that is there goes to `take_in`.
    pub fn is_waiting(&mut self, take_in: impl FnOnce(Answer)) -> bool {
        if self.is_waiting
            && let Ok(answer) = self.answers.try_recv()
        {
            take_in(answer);
            self.is_waiting = false;
        }
        self.is_waiting
    }

    /// Asks. No other answer may be still to come.
    pub fn ask(&mut self, question: Question) {
        self.session.send(question);
        self.is_waiting = true;
    }
}
