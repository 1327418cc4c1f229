//! Enrolment tokens, as the server knows them: id, secret, uses and expiry.

use super::schema::audit;
use super::{Control, ControlError};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use skerry_model::UnixMillis;
use skerry_seal::{TokenId, TokenSecret};

/// Tokens that may exist at a time.
const TOKENS_MAX: i64 = 10_000;
/// How long a token that is used up or expired stays listed.
const SPENT_KEPT_MS: i64 = 30 * 86_400_000;

/// A token to be made known.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// Its secret.
    pub secret: TokenSecret,
    /// How many nodes may join with it.
    pub uses: u32,
    /// When it ends.
    pub expires: UnixMillis,
    /// A node that shows it waits until an administrator approves it.
    pub approval: bool,
}

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// Its id, 16 hex digits.
    pub id: String,
    /// How many nodes may join with it.
    pub uses: u32,
    /// How many did.
    pub used: u32,
    /// When it was made, in Unix milliseconds.
    pub created_ms: i64,
    /// When it ends, in Unix milliseconds.
    pub expires_ms: i64,
    /// Whether nodes wait for approval.
    pub approval: bool,
}

/// A token as the checks of enrolment need it.
pub(super) struct Known {
    pub(super) secret: TokenSecret,
    pub(super) left: i64,
    pub(super) expires: UnixMillis,
    pub(super) approval: bool,
}

impl Control {
    /// Makes a token known. The same token again changes nothing. `false` where there are too many already.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn add_token(&self, token: NewToken, now: UnixMillis) -> Result<bool, ControlError> {
        self.transact(move |file| {
            file.prepare_cached("DELETE FROM token WHERE expires < ? OR (used >= uses AND created < ?)")?
                .execute([now.0 - SPENT_KEPT_MS, now.0 - SPENT_KEPT_MS])?;
            let count: i64 = file.query_row("SELECT count(*) FROM token", [], |row| row.get(0))?;
            if count >= TOKENS_MAX {
                return Ok(false);
            }
            let id = token.id.to_string();
            let added = file
                .prepare_cached(
                    "INSERT INTO token(id, secret, uses, used, created, expires, approval)
                     VALUES(?, ?, ?, 0, ?, ?, ?) ON CONFLICT(id) DO NOTHING",
                )?
                .execute((&id, &token.secret.to_bytes()[..], token.uses, now.0, token.expires.0, token.approval))?;
            if added > 0 {
                audit(file, now.0, "token_added", &id)?;
            }
            Ok(true)
        })
        .await
    }

    /// All tokens, newest first.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, ControlError> {
        self.transact(|file| {
            let mut query = file.prepare_cached(
                "SELECT id, uses, used, created, expires, approval FROM token ORDER BY created DESC, id",
            )?;
            let rows = query.query_map([], |row| {
                Ok(TokenRow {
                    id: row.get(0)?,
                    uses: row.get(1)?,
                    used: row.get(2)?,
                    created_ms: row.get(3)?,
                    expires_ms: row.get(4)?,
                    approval: row.get(5)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Removes a token; whether it was there.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn remove_token(&self, id: TokenId, now: UnixMillis) -> Result<bool, ControlError> {
        self.transact(move |file| {
            let id = id.to_string();
            let removed = file.prepare_cached("DELETE FROM token WHERE id = ?")?.execute([&id])? > 0;
            if removed {
                audit(file, now.0, "token_removed", &id)?;
            }
            Ok(removed)
        })
        .await
    }
}

/// The token of that id.
pub(super) fn find(file: &Connection, id: TokenId) -> Result<Option<Known>, ControlError> {
    let row = file
        .prepare_cached("SELECT secret, uses - used, expires, approval FROM token WHERE id = ?")?
        .query_row([id.to_string()], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get(2)?, row.get::<_, bool>(3)?))
        })
        .optional()?;
    let Some((secret, left, expires, approval)) = row else { return Ok(None) };
    let secret = <[u8; 16]>::try_from(secret).map_err(|_| ControlError::Damaged { what: "token" })?;
    Ok(Some(Known { secret: TokenSecret::from_bytes(secret), left, expires: UnixMillis(expires), approval }))
}

/// Counts one use.
pub(super) fn spend(file: &Connection, id: TokenId) -> Result<(), ControlError> {
    file.prepare_cached("UPDATE token SET used = used + 1 WHERE id = ?")?.execute([id.to_string()])?;
    Ok(())
}
