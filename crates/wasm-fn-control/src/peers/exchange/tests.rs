//! Several analyses that exchange their evidence.
