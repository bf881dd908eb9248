//! Decides how all objects of a request are asked for: as a stream where the server can do that, else in pages. It never follows what changes.

use super::answer::{self, Failure, Said, Stream};
use super::follow::{End, Follow};
use super::saved::Op;

impl Follow {
    /// All that is there. The stream that said it goes on with what changes, where the server can do that.
    pub(super) async fn list(&mut self, client: &kube::Client) -> Result<Option<Stream>, End> {
        self.known.lock().await.begin(self.want.speaker());
        if self.shared.streams_lists() {
            match self.ask(client, None).await {
                Ok(stream) => return Ok(Some(self.streamed(stream).await?)),
                Err(Failure::NotUnderstood(text)) => {
                    tracing::info!("the API server does not stream lists ({text}); they are asked for in pages");
                    self.shared.no_streamed_lists();
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        self.paged(client).await?;
        Ok(None)
    }

    async fn streamed(&mut self, mut stream: Stream) -> Result<Stream, End> {
        while let Some(said) = stream.next().await? {
            self.well().await?;
            match said {
                Said::Bookmark(version, true) => {
                    self.listed(version).await?;
                    return Ok(stream);
                }
                Said::Bookmark(_, false) => {}
                Said::Is(object) => self.is(object).await?,
                Said::Gone(object) => self.gone(&object).await?,
            }
        }
        Err(Failure::Broken("a list ended before it was complete".into()).into())
    }

    async fn paged(&mut self, client: &kube::Client) -> Result<(), End> {
        let mut token = String::new();
        let mut whole = false;
        loop {
            let asked = self.want.list(
                &self.shared.node,
                Some(&token).filter(|token| !token.is_empty()).map(String::as_str),
                whole,
            );
            let asked = asked.map_err(|err| Failure::NotUnderstood(err.to_string()))?;
            let page = match answer::page(client, asked).await {
                // The pages took longer than the server remembers; all at once cannot.
                Err(Failure::Gone) if !whole => {
                    whole = true;
                    token.clear();
                    self.known.lock().await.begin(self.want.speaker());
                    continue;
                }
                other => other?,
            };
            self.well().await?;
            for object in page.items.unwrap_or_default() {
                self.is(object).await?;
            }
            token = page.metadata.r#continue;
            if token.is_empty() {
                if page.metadata.resource_version.is_empty() {
                    return Err(Failure::Garbage("a list without a version".into()).into());
                }
                return self.listed(page.metadata.resource_version).await;
            }
        }
    }

    async fn listed(&mut self, version: String) -> Result<(), End> {
        let mut known = self.known.lock().await;
        let (events, gone) = known.complete(self.want.speaker());
        for name in gone {
            self.shared.save(Op::Gone { want: self.want, name });
        }
        self.shared.hand_on(self.want, &known, events).await?;
        drop(known);
        self.reached(Some(version));
        Ok(self.shared.listed(self.want).await?)
    }
}
