//! The COMMIT of a batch, and what is known if it is not answered.

use super::{Attempt, Part};
use crate::store::{
    Appended, StoreError,
    postgres::{
        connect::Transaction,
        error::DatabaseError,
        lives::Life,
        writer::{plan::Outcomes, writes::Writes},
    },
    waits::OutcomeNotice,
};

/// What a transaction did.
#[derive(Default)]
pub(super) struct Committed {
    /// The life of its messages.
    pub life: i64,
    pub done: Appended,
    pub notices: Vec<OutcomeNotice>,
}

/// What an earlier attempt would have reported, if the answer to its COMMIT had come.
#[derive(Default)]
pub(super) struct Unanswered {
    pub committed: Option<Committed>,
    /// Whether the present attempt has sent its COMMIT, and has no answer to it.
    pub is_sent: bool,
}

impl Part<'_> {
    /// Waits until what an earlier attempt committed is as safe as what this one would commit.
    ///
    /// A server that was ended while it waited for its standby has committed on its own disk only. This COMMIT comes after that one in
    /// its log, so the standby has both when it is answered. A transaction without changes would not wait.
    pub(super) async fn confirm(&self) -> Result<(), StoreError> {
        let transaction = Transaction::begin(&self.shared.pool).await?;
        let sql = "UPDATE counters SET last_batch = last_batch WHERE writer = $1";
        transaction.client().execute(sql, &[&self.writer]).await?;
        Ok(transaction.commit().await?)
    }

    /// Writes what the batch did, and commits. In one round trip.
    pub(super) async fn finish(
        &self,
        transaction: Transaction,
        life: &Life,
        outcomes: Outcomes<'_>,
        unanswered: &mut Unanswered,
    ) -> Result<Attempt, StoreError> {
        let client = transaction.client();
        let writes = Writes::prepare(client, &outcomes, &self.shared.counted).await?;
        // Before anything is sent: the attempt may be given up while it waits.
        unanswered.is_sent = true;
        unanswered.committed = Some(Committed {
            life: life.id,
            done: outcomes.done,
            notices: outcomes.notices.clone(),
        });
        let (written, committed) = futures::join!(
            writes.run(
                client,
                (self.writer, life.id),
                (&outcomes, &self.id),
                self.now
            ),
            client.batch_execute("COMMIT"),
        );
        // If a write failed, COMMIT rolls back, and reports no error.
        match written.and(committed.map_err(DatabaseError::from)) {
            Ok(()) => {
                transaction.ended();
                let committed = unanswered.committed.take().unwrap_or_default();
                Ok(Attempt::Committed(committed))
            }
            Err(err) => {
                // An earlier attempt has not committed either: its rows would have been found.
                if err.is_answer() {
                    unanswered.committed = None;
                    unanswered.is_sent = false;
                }
                Err(err.into())
            }
        }
    }
}
