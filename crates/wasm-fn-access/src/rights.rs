//! Rights: roles within a scope. The check of every request.

use wasm_fn_core::{FunctionName, StageName};

use crate::{Permission, Reach, Roles, Scope};

/// What somebody may do, and to which functions and stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The roles.
    pub roles: Roles,
    /// The functions and stages.
    pub scope: Scope,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The node.
    Node,
    /// A function, with all its stages.
    Function(&'a FunctionName),
    /// A stage of a function.
    Stage(&'a FunctionName, &'a StageName),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The function is out of scope. To this token it does not exist.
    HiddenFunction,
    /// The stage is out of scope. To this token it does not exist.
    HiddenStage,
    /// No role of the token has the permission.
    Role,
    /// The permission reaches further than the scope.
    Scope,
}

impl Rights {
    /// Every permission for everything.
    pub fn all() -> Self {
        Self { roles: Roles::of(&[crate::AccessRole::Admin]), scope: Scope::everything() }
    }

    /// Checks that `target` may be used by `permission`.
    ///
    /// What is out of scope is reported first, so that a refusal does not tell whether it exists.
    ///
    /// # Errors
    /// Why it may not.
    pub fn check(&self, permission: Permission, target: Target<'_>) -> Result<(), Denial> {
        match target {
            Target::Function(function) | Target::Stage(function, _) if !self.scope.has_function(function) => {
                return Err(Denial::HiddenFunction);
            }
            Target::Stage(_, stage) if !self.scope.has_stage(stage) => return Err(Denial::HiddenStage),
            _ => {}
        }
        if !self.roles.meets(permission.roles()) {
            return Err(Denial::Role);
        }
        let reaches = match (permission.reach(), target) {
            (Reach::Node, _)
            | (Reach::Function, Target::Function(_) | Target::Stage(..))
            | (Reach::Stage, Target::Stage(..)) => true,
            (Reach::Stage, Target::Function(_)) => self.scope.has_all_stages(),
            // Whoever asks about no function in particular asks about all of them.
            (Reach::Function | Reach::Stage, Target::Node) | (Reach::Everything, _) => {
                self.scope.is_everything()
            }
        };
        if reaches { Ok(()) } else { Err(Denial::Scope) }
    }

    /// The permissions that these rights give for anything at all.
    pub fn permissions(&self) -> impl Iterator<Item = Permission> {
        let is_everything = self.scope.is_everything();
        Permission::ALL.into_iter().filter(move |permission| {
            self.roles.meets(permission.roles()) && (is_everything || permission.reach() != Reach::Everything)
        })
    }

    /// Whether `target` may be used by `permission`.
    pub fn allow(&self, permission: Permission, target: Target<'_>) -> bool {
        self.check(permission, target).is_ok()
    }
}

#[cfg(test)]
mod tests;
