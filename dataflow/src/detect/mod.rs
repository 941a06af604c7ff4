//! Training beside the stream: when to write down what is known, and when to train.

mod training;

pub use training::{Pace, Ready, TrainAnswer, TrainJob, Training};
