//! What a file imports: every `use`, and every path in its code, its macro calls and its attributes'
//! arguments that leads to another file of the crate.
//!
//! Such a path begins with `crate`, `self` or `super`, with a module that the file declares or has
//! imported, or, in a program, with the name of the library beside it.

use std::collections::{BTreeSet, HashMap};

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{Attribute, ItemMod, ItemUse, Macro, Meta, UseTree};

use crate::conditional::only_for_tests;
use crate::modules::{Crate, File};

/// The lines of a file that lead to other files, and those files' names.
pub fn of(file: &File, home: &Crate) -> BTreeSet<(usize, String)> {
    let module = file.module.clone();
    let mut reader = Reader { home, module, found: Vec::new(), modules: HashMap::new() };
    reader.visit_file(&file.syntax);
    let mut imports = BTreeSet::new();
    for Found { module, path, line } in &reader.found {
        let renamed = reader.modules.get(&(module.clone(), path[0].clone()));
        let absolute = match renamed {
            Some(imported) => Some([imported, &path[1..]].concat()),
            None => home.absolute(module, path),
        };
        let target = absolute.and_then(|absolute| home.home(&absolute));
        imports.extend(target.map(|target| (*line, target.to_string())));
    }
    imports.retain(|(_, target)| *target != file.name);
    imports
}

/// A path, and the module that it stands in.
struct Found {
    module: Vec<String>,
    path: Vec<String>,
    line: usize,
}

struct Reader<'a> {
    home: &'a Crate,
    /// That the reader is in: the file's, or one written out in it.
    module: Vec<String>,
    found: Vec<Found>,
    /// The modules that are imported, by where and under which name.
    modules: HashMap<(Vec<String>, String), Vec<String>>,
}

impl Reader<'_> {
    fn found(&mut self, path: Vec<String>, line: usize) {
        self.found.push(Found { module: self.module.clone(), path, line });
    }

    /// A `use` tree below `prefix`.
    fn tree(&mut self, tree: &UseTree, prefix: &[String]) {
        let (ident, name) = match tree {
            UseTree::Path(tree) => {
                return self.tree(&tree.tree, &[prefix, &[text(&tree.ident)]].concat());
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.tree(tree, prefix));
            }
            UseTree::Glob(glob) => {
                if !prefix.is_empty() {
                    self.found(prefix.to_vec(), glob.star_token.spans[0].start().line);
                }
                return;
            }
            UseTree::Name(tree) => (&tree.ident, &tree.ident),
            UseTree::Rename(tree) => (&tree.ident, &tree.rename),
        };
        let path = [prefix, &[text(ident)]].concat();
        if let Some(absolute) = self.home.absolute(&self.module, &path) {
            if self.home.is_module(&absolute) {
                // `a::{self}` brings in `a`.
                let name = if name == "self" { absolute.last().cloned() } else { Some(text(name)) };
                let name = name.unwrap_or_default();
                self.modules.insert((self.module.clone(), name), absolute);
            }
        }
        self.found(path, ident.span().start().line);
    }

    /// What looks like a path in tokens that nobody has parsed, or, below a `prefix`, in the braces of
    /// one.
    fn tokens(&mut self, tokens: TokenStream, prefix: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let TokenTree::Ident(first) = token else {
                if let TokenTree::Group(group) = token {
                    self.tokens(group.stream(), prefix);
                }
                at += 1;
                continue;
            };
            let (path, end) = path(&tokens, at);
            // A macro's `$name::..` may be anything, but `$crate` is `crate`. And after `::` stands no
            // beginning.
            let given = at > 0 && is(tokens.get(at - 1), '$') && first != "crate";
            let begins = !given && (at < 2 || !colons(&tokens, at - 2));
            at = end;
            if !prefix.is_empty() && first == "as" {
                at += 1;
            } else if begins {
                let path = [prefix, &path].concat();
                let goes_on = colons(&tokens, end);
                match tokens.get(end + 2) {
                    Some(TokenTree::Group(group)) if goes_on => {
                        self.tokens(group.stream(), &path);
                        at = end + 3;
                    }
                    _ if goes_on || path.len() > 1 => self.found(path, first.span().start().line),
                    _ => {}
                }
            }
        }
    }
}

fn text(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// The names with `::` between them from `at` on, and where they end.
fn path(tokens: &[TokenTree], mut at: usize) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        path.push(text(ident));
        at += 1;
        if !colons(tokens, at) || !matches!(tokens.get(at + 2), Some(TokenTree::Ident(_))) {
            break;
        }
        at += 2;
    }
    (path, at)
}

fn colons(tokens: &[TokenTree], at: usize) -> bool {
    is(tokens.get(at), ':') && is(tokens.get(at + 1), ':')
}

fn is(token: Option<&TokenTree>, char: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == char)
}

macro_rules! skip_what_is_for_tests {
    ($($visit:ident $Kind:ident,)*) => {$(
        fn $visit(&mut self, item: &'ast syn::$Kind) {
            if !only_for_tests(&item.attrs) {
                visit::$visit(self, item);
            }
        }
    )*};
}

impl<'ast> Visit<'ast> for Reader<'_> {
    skip_what_is_for_tests! {
        visit_field Field,
        visit_impl_item_const ImplItemConst,
        visit_impl_item_fn ImplItemFn,
        visit_item_const ItemConst,
        visit_item_enum ItemEnum,
        visit_item_fn ItemFn,
        visit_item_impl ItemImpl,
        visit_item_macro ItemMacro,
        visit_item_static ItemStatic,
        visit_item_struct ItemStruct,
        visit_item_trait ItemTrait,
        visit_item_type ItemType,
        visit_local Local,
        visit_trait_item_fn TraitItemFn,
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !only_for_tests(&item.attrs) {
            self.module.push(text(&item.ident));
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() && !only_for_tests(&item.attrs) {
            self.tree(&item.tree, &[]);
        }
    }

    /// `pub(super)` imports nothing.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let names = path.segments.iter().map(|segment| text(&segment.ident)).collect();
            self.found(names, path.segments[0].ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone(), &[]);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        visit::visit_attribute(self, attribute);
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone(), &[]);
        }
    }
}
