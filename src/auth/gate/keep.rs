//! The record of a gate: loaded when it is first wanted, renewed under a lock that holds across processes
//! (`AUT-23`), stored.

use std::sync::{Arc, PoisonError};

use super::super::flow::{self, Renewed, now};
use super::super::metadata::{resource_fits, same_issuer};
use super::super::record::{Record, meant_for, name_of};
use super::super::settings::Settings;
use super::super::store::About;
use super::{By, Held, Inner, Manner, State};
use crate::busy::Busy;
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;

/// How long before it expires a token is renewed, in seconds.
const MARGIN: u64 = 30;

impl Inner {
    pub(super) fn server(&self) -> String {
        name_of(self.http.server())
    }

    /// Waits for the store: a keychain that somebody is unlocking, or another process that renews the same login. Both
    /// end in time by themselves and say what they are; no deadline that is meant for a server runs out meanwhile.
    async fn unhurried<T>(&self, waiting: impl Future<Output = T>) -> T {
        let _busy = Busy::new(&self.busy);
        waiting.await
    }

    /// Loads the record, where the index says that there is one.
    pub(super) async fn load(&self, state: &mut State) -> Result<()> {
        if state.loaded {
            return Ok(());
        }
        if let Some(about) = self.choose()?
            && let Some(mut record) = self.stored(&about.key).await?
            // An earlier version did not tell queries apart.
            && resource_fits(&record.resource, self.http.server())
        {
            self.hide(&record);
            if self.settings.is_plain() {
                state.inherited = Some(record.settings());
            }
            if self.manner.anew || !self.fits(&record) {
                record.tokens = None;
            }
            state.held = Some(Held::new(record)?);
        }
        state.loaded = true;
        Ok(())
    }

    /// The record under this key.
    ///
    /// A login anew replaces it: one that cannot be read does not stand in its way, if there is a place for the
    /// new one.
    pub(super) async fn stored(&self, key: &str) -> Result<Option<Record>> {
        let read = match self.unhurried(self.store.get(key)).await {
            Ok(secret) => secret.as_ref().map(|secret| self.read(secret)).transpose(),
            Err(failure) if !self.store.has_another_place() => return Err(failure),
            Err(failure) => Err(failure),
        };
        match read {
            Err(failure) if self.manner.anew => {
                self.http.trace().note(&format!("the login that is replaced cannot be read: {failure}"));
                Ok(None)
            }
            read => read,
        }
    }

    fn read(&self, stored: &Secret) -> Result<Record> {
        let Manner { logout, command, .. } = &self.manner;
        Record::read(stored)
            .map_err(|failure| failure.hint(format!("remove them, and log in again: {logout} && {command}")))
    }

    /// The record to use: of this server, of the configured issuer, the one that is good for longest.
    pub(super) fn choose(&self) -> Result<Option<About>> {
        let issuer = self.settings.issuer.as_deref();
        let of = |about: About| {
            let own = meant_for(&about, self.http.server())?;
            issuer.is_none_or(|issuer| same_issuer(issuer, &about.issuer)).then_some((own, about))
        };
        let mut all: Vec<(bool, About)> = self.store.list()?.into_iter().filter_map(of).collect();
        all.sort_by_key(|(own, about)| (*own, about.expires_at, about.has_refresh));
        Ok(all.pop().map(|(_, about)| about))
    }

    /// Whether the tokens of a record were obtained as the settings say.
    fn fits(&self, record: &Record) -> bool {
        self.settings.client_id.as_ref().is_none_or(|id| *id == record.client.id)
    }

    fn hide(&self, record: &Record) {
        let tokens = record.tokens.iter().flat_map(|tokens| [Some(&tokens.access), tokens.refresh.as_ref()]);
        for secret in tokens.chain([record.client.secret.as_ref(), record.dpop_key.as_ref()]).flatten() {
            self.person.hide(secret);
        }
    }

    /// Makes the tokens ready for use: loaded, and renewed where they are due.
    pub(super) async fn ready(self: &Arc<Self>, state: &mut State) -> Result<()> {
        self.load(state).await?;
        let Some(tokens) = state.tokens() else { return Ok(()) };
        let (due, expired) = (tokens.due(now(), MARGIN), tokens.expired(now()));
        if due && tokens.refresh.is_some() {
            match self.renew(state).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(failure) if expired => return Err(failure),
                // There is still time: the next run may have more luck.
                Err(failure) => self.http.trace().note(&format!("the token could not be renewed yet: {failure}")),
            }
        } else if expired {
            state.ended = Some(Failure::new(Class::Auth, "the token has expired"));
        }
        if expired && let Some(held) = &mut state.held {
            held.record.tokens = None;
        }
        Ok(())
    }

    /// Renews the tokens in hand, or takes those that another process has renewed meanwhile (`AUT-23`).
    /// Tells whether they were; why not, where the issuer refused, is kept. Those in hand go where it said that the
    /// refresh token is good no more.
    pub(super) async fn renew(self: &Arc<Self>, state: &mut State) -> Result<bool> {
        let Some(before) = state.held.as_ref().map(|held| held.record.clone()) else { return Ok(false) };
        let (inner, settings) = (self.clone(), self.settings(state).clone());
        let unstored = state.unstored.is_some();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // A task of its own: once the refresh token has been sent, its successor must be stored, even if
        // whoever wanted it has gone.
        let task = tokio::spawn(async move {
            let _ = sender.send(match unstored {
                // What is stored, if anything is, is older.
                true => inner.exchange(&settings, before, false).await,
                false => inner.renew_locked(&settings, before).await,
            });
        });
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        let lost = || Failure::new(Class::Bug, "the renewal of the token was lost");
        match receiver.await.map_err(|_| lost()).flatten()? {
            Exchange::New(record, failure) => {
                if failure.is_some() {
                    state.unstored = failure;
                }
                match &mut state.held {
                    // A login elsewhere brought another key.
                    Some(held) if held.record.dpop_key == record.dpop_key => held.record = *record,
                    held => *held = Some(Held::new(*record)?),
                }
                state.obtained(By::Renewal);
                Ok(true)
            }
            Exchange::Refused(record, failure) => {
                match (record, &mut state.held) {
                    (Some(record), Some(held)) => held.record = *record,
                    (_, held) => *held = None,
                }
                state.ended = Some(failure);
                Ok(false)
            }
            Exchange::Denied(failure) => {
                state.ended = Some(failure);
                Ok(false)
            }
        }
    }

    async fn renew_locked(&self, settings: &Settings, before: Record) -> Result<Exchange> {
        let key = before.key();
        let _guard = self.unhurried(self.store.lock(&key)).await?;
        // Whoever held the lock before us may have done it already.
        let Some(stored) = self.unhurried(self.store.get(&key)).await? else {
            return Ok(Exchange::Refused(None, Failure::new(Class::Auth, "the credentials have been removed")));
        };
        let record = self.read(&stored)?;
        self.hide(&record);
        let access = |record: &Record| record.tokens.as_ref().map(|tokens| tokens.access.clone());
        if access(&record) != access(&before) {
            match &record.tokens {
                Some(tokens) if !tokens.due(now(), MARGIN) => return Ok(Exchange::New(Box::new(record), None)),
                Some(_) => {}
                None => {
                    let failure = Failure::new(Class::Auth, "the login was refused to another run of mcpipe");
                    return Ok(Exchange::Refused(Some(Box::new(record)), failure));
                }
            }
        }
        self.exchange(settings, record, true).await
    }

    /// Asks for new tokens; what comes of it is stored, if the record is.
    async fn exchange(&self, settings: &Settings, mut record: Record, stored: bool) -> Result<Exchange> {
        let put = async |record: &Record| match stored {
            true => self.put(record).await,
            false => Ok(()),
        };
        match flow::renew(&self.http, settings, &*self.person, &record).await? {
            Renewed::Tokens(tokens) => {
                record.tokens = Some(tokens);
                let failed = put(&record).await.err();
                if let Some(failure) = &failed {
                    self.person.say(&format!("mcpipe: the renewed login could not be stored: {failure}"));
                }
                Ok(Exchange::New(Box::new(record), failed))
            }
            Renewed::Refused(failure) => {
                record.tokens = None;
                put(&record).await?;
                Ok(Exchange::Refused(Some(Box::new(record)), failure))
            }
            Renewed::Denied(failure) => Ok(Exchange::Denied(failure)),
            Renewed::Unregistered(failure) => {
                if stored {
                    self.unhurried(self.store.delete(&record.key())).await?;
                }
                Ok(Exchange::Refused(None, failure))
            }
        }
    }

    async fn put(&self, record: &Record) -> Result<()> {
        let about = record.about(self.manner.configured.as_deref());
        let text = record.write_beside(self.manner.secret.as_ref())?;
        self.unhurried(self.store.put(&record.key(), &about, &text)).await
    }

    /// Stores a new login, and drops what it replaces (`AUT-13`): tokens of another issuer are of no use any
    /// more.
    pub(super) async fn keep(&self, record: &Record) -> Result<()> {
        let key = record.key();
        let _guard = self.store.lock(&key).await?;
        self.put(record).await?;
        let place = |about: &About| meant_for(about, self.http.server());
        let own = place(&record.about(None));
        for about in self.store.list()? {
            if about.key != key && own.is_some() && place(&about) == own {
                self.store.delete(&about.key).await?;
            }
        }
        Ok(())
    }
}

/// How a renewal ended.
enum Exchange {
    /// New tokens; why they could not be stored, if so.
    New(Box<Record>, Option<Failure>),
    /// The issuer refused; what is left of the record.
    Refused(Option<Box<Record>>, Failure),
    /// It refused this time; the record stays as it is.
    Denied(Failure),
}
