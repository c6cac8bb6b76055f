//! Allocations, handed to who moves them.
//!
//! What has grown and shrunk leaves pages of memory that are mostly holes. An allocator knows which allocations stand
//! in such pages, and can't tell who points to them. So what owns allocations lends them, each once, to a [`Defrag`].

/// Moves allocations to where they leave fewer holes, if it wants to. What is in them stays as it is.
pub trait Defrag {
    /// That of a vector, with its whole capacity.
    fn vec<T>(&mut self, values: &mut Vec<T>);

    fn boxed<T>(&mut self, value: &mut Box<T>);

    fn text(&mut self, text: &mut Box<str>);

    fn slice<T>(&mut self, values: &mut Box<[T]>) {
        let mut all = std::mem::take(values).into_vec();
        self.vec(&mut all);
        *values = all.into_boxed_slice();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Moves what a vector has, and counts the bytes that it is lent.
    #[derive(Default)]
    pub(crate) struct Counting {
        pub(crate) bytes: usize,
        /// By one step.
        pub(crate) allocations: usize,
    }

    impl Counting {
        fn count(&mut self, bytes: usize) {
            self.bytes += bytes;
            self.allocations += usize::from(bytes > 0);
        }
    }

    impl Defrag for Counting {
        fn vec<T>(&mut self, values: &mut Vec<T>) {
            self.count(values.capacity() * size_of::<T>());
            let mut elsewhere = Vec::with_capacity(values.capacity());
            elsewhere.append(values);
            *values = elsewhere;
        }

        fn boxed<T>(&mut self, _: &mut Box<T>) {
            self.count(size_of::<T>());
        }

        fn text(&mut self, text: &mut Box<str>) {
            self.count(text.len());
            *text = text.to_string().into();
        }
    }
}
