//! What travels is what was told, and garbled bytes are refused.
