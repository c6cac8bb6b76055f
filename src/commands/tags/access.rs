//! Who may do what by a tag: it has to match a key pattern of the caller's.

use host::caller::Access;
use host::{Ctx, Error, Name, Result};

/// An error where the caller may not do this by one of the tags. Another module that calls in its own name
/// may; of what is replayed the checks were made where its caller was.
pub fn check(ctx: &mut Ctx, access: Access, tags: &[Name]) -> Result<()> {
    let Some(number) = ctx.user().and_then(|user| user.first_denied(ctx, access, tags)) else {
        return Ok(());
    };
    let pattern = "it has to match a key pattern with";
    Err(Error::coded(
        "NOPERM",
        match access {
            Access::Write => format!(
                "No permissions to invalidate tag {}: {pattern} write permission",
                number + 1
            ),
            Access::Read => format!("No permissions to read the tag: {pattern} read permission"),
        },
    ))
}
