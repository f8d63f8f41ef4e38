//! Several nodes with the evidence of all: what they tell each other, and what comes of it.

mod simulation;
mod telling;
