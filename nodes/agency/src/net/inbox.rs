use puente_exchange::api::Input;

use crate::driver::{DriverHandle, Gone};

/// Where the network tells what arrives: the engine's task, or a channel in tests.
#[derive(Clone)]
pub(crate) enum Inbox {
    /// The engine's task.
    Driver(DriverHandle),
    /// Whoever listens.
    #[cfg(test)]
    Channel(tokio::sync::mpsc::Sender<Input>),
}

impl Inbox {
    /// Hands over an input; waits while too much is waiting already.
    pub(crate) async fn send(&self, input: Input) -> Result<(), Gone> {
        match self {
            Self::Driver(driver) => driver.input(input).await,
            #[cfg(test)]
            Self::Channel(channel) => channel.send(input).await.map_err(|_| Gone),
        }
    }
}
