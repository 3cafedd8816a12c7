//! Directories and files that change little of what the ones below them do: [`pass_on`].

/// Methods of a `Directory`, or of an `AppendFile`, that do what the one in the field `$below` does.
macro_rules! pass_on {
    ($below:ident: $($method:ident),*) => {
        $($crate::support::layers::pass_on!(@ $method $below);)*
    };
    (@ open $below:ident) => {
        fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn AppendFile>> {
            self.$below.open(name, access)
        }
    };
    (@ rename_new $below:ident) => {
        fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
            self.$below.rename_new(from, to)
        }
    };
    (@ replace $below:ident) => {
        fn replace(&self, from: &str, to: &str) -> io::Result<()> {
            self.$below.replace(from, to)
        }
    };
    (@ remove $below:ident) => {
        fn remove(&self, name: &str) -> io::Result<()> {
            self.$below.remove(name)
        }
    };
    (@ names $below:ident) => {
        fn names(&self) -> io::Result<Vec<String>> {
            self.$below.names()
        }
    };
    (@ path $below:ident) => {
        fn path(&self, name: &str) -> PathBuf {
            self.$below.path(name)
        }
    };
    (@ sync $below:ident) => {
        fn sync(&self) -> io::Result<()> {
            self.$below.sync()
        }
    };
    (@ len $below:ident) => {
        fn len(&self) -> io::Result<u64> {
            self.$below.len()
        }
    };
    (@ read_at $below:ident) => {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.$below.read_at(offset, buffer)
        }
    };
    (@ append $below:ident) => {
        fn append(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.$below.append(offset, bytes)
        }
    };
    (@ zero $below:ident) => {
        fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
            self.$below.zero(offset, length)
        }
    };
    (@ rewrite $below:ident) => {
        fn rewrite(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.$below.rewrite(offset, bytes)
        }
    };
    (@ trim $below:ident) => {
        fn trim(&self, length: u64) -> io::Result<()> {
            self.$below.trim(length)
        }
    };
    (@ try_lock $below:ident) => {
        fn try_lock(&self) -> io::Result<bool> {
            self.$below.try_lock()
        }
    };
    (@ identity $below:ident) => {
        fn identity(&self) -> io::Result<FileIdentity> {
            self.$below.identity()
        }
    };
}

pub(crate) use pass_on;
