//! What an operator holds back until its frontier has passed: per epoch, what came, and a capability for each output.
//!
//! An operator takes messages in as they come, and acts on an epoch once no worker can send more for it, in the order
//! of epochs.

use std::collections::BTreeMap;
use std::collections::btree_map::OccupiedEntry;

use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::frontier::MutableAntichain;

use super::Epoch;

/// Epochs that are not complete yet. `S` is what came in one; `N` is the number of outputs that speak of it.
pub struct OpenEpochs<S, const N: usize> {
    /// The first of the `N` consecutive outputs.
    first_output: usize,
    epochs: BTreeMap<Epoch, OpenEpoch<S, N>>,
}

/// An epoch with its capabilities, in the order of the outputs.
pub struct OpenEpoch<S, const N: usize> {
    pub state: S,
    pub capabilities: [Capability<Epoch>; N],
}

impl<S: Default, const N: usize> OpenEpochs<S, N> {
    /// For an operator whose outputs from `first_output` on speak of complete epochs.
    pub fn new(first_output: usize) -> OpenEpochs<S, N> {
        OpenEpochs { first_output, epochs: BTreeMap::new() }
    }

    /// What came in the epoch of a message.
    pub fn of(&mut self, message: &InputCapability<Epoch>) -> &mut S {
        let first = self.first_output;
        let capabilities = || std::array::from_fn(|output| message.retain(first + output));
        self.entry(*message.time(), capabilities)
    }

    /// What came in `epoch`, which is the epoch of a message or a later one. Differential dataflow sends updates of
    /// several epochs in one message.
    pub fn at(&mut self, message: &InputCapability<Epoch>, epoch: Epoch) -> &mut S {
        let first = self.first_output;
        let capabilities = || std::array::from_fn(|output| message.delayed(&epoch, first + output));
        self.entry(epoch, capabilities)
    }

    /// What is to be done in a later epoch than that of `capabilities`.
    pub fn later(&mut self, capabilities: &[Capability<Epoch>; N], epoch: Epoch) -> &mut S {
        self.entry(epoch, || std::array::from_fn(|output| capabilities[output].delayed(&epoch)))
    }

    fn entry(&mut self, epoch: Epoch, capabilities: impl FnOnce() -> [Capability<Epoch>; N]) -> &mut S {
        let open = || OpenEpoch { state: S::default(), capabilities: capabilities() };
        &mut self.epochs.entry(epoch).or_insert_with(open).state
    }

    /// The oldest epoch that is open, complete or not.
    pub fn first(&mut self) -> Option<OccupiedEntry<'_, Epoch, OpenEpoch<S, N>>> {
        self.epochs.first_entry()
    }

    /// Takes out the oldest epoch if every frontier has passed it.
    pub fn pop_complete(
        &mut self,
        frontiers: &[MutableAntichain<Epoch>],
    ) -> Option<(Epoch, S, [Capability<Epoch>; N])> {
        self.first_complete(frontiers).map(|first| {
            let (epoch, OpenEpoch { state, capabilities }) = first.remove_entry();
            (epoch, state, capabilities)
        })
    }

    /// The oldest epoch if every frontier has passed it, left in its place.
    pub fn first_complete(
        &mut self,
        frontiers: &[MutableAntichain<Epoch>],
    ) -> Option<OccupiedEntry<'_, Epoch, OpenEpoch<S, N>>> {
        self.first().filter(|first| passed(frontiers, *first.key()))
    }
}

/// Whether no input can bring anything of `epoch` any more.
pub fn passed(frontiers: &[MutableAntichain<Epoch>], epoch: Epoch) -> bool {
    frontiers.iter().all(|frontier| !frontier.less_equal(&epoch))
}
