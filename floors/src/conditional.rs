//! What is compiled for tests alone: `#[cfg(test)]`, also within `all` and `any`.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

pub fn only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        attribute.parse_args().is_ok_and(|condition| holds_only_in_tests(&condition))
    })
}

fn holds_only_in_tests(condition: &Meta) -> bool {
    let Meta::List(list) = condition else {
        return condition.path().is_ident("test");
    };
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    let mut parts = parts.iter().flatten();
    if list.path.is_ident("all") {
        parts.any(holds_only_in_tests)
    } else {
        list.path.is_ident("any") && parts.all(holds_only_in_tests)
    }
}
