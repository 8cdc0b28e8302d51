//! Extensions that only some systems have, as in [`std::os`], and what of those does not block.

pub use std::os::{fd, raw};

pub mod unix {
    //! What all Unix systems have.

    pub use std::os::unix::{ffi, io};
}

pub mod linux {
    //! What only Linux has.

    pub mod net {
        //! Linux's own socket options.

        use std::io;
        use std::os::linux::net::TcpStreamExt as _;

        use crate::net::TcpStream;

        /// Linux's own options of TCP connections: [`std::os::linux::net::TcpStreamExt`].
        pub trait TcpStreamExt {
            /// Sets `TCP_QUICKACK`: whether to acknowledge at once what has arrived. The kernel resets it as it sees fit.
            ///
            /// # Errors
            ///
            /// The kernel's.
            ///
            /// # Examples
            ///
            /// ```
            /// use greenhub::os::linux::net::TcpStreamExt;
            /// # let listener = greenhub::net::TcpListener::bind("127.0.0.1:0")?;
            /// # let stream = greenhub::net::TcpStream::connect(listener.local_addr()?)?;
            /// stream.set_quickack(true)?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            fn set_quickack(&self, quickack: bool) -> io::Result<()>;

            /// What [`set_quickack`](TcpStreamExt::set_quickack) has set.
            ///
            /// # Errors
            ///
            /// The kernel's.
            fn quickack(&self) -> io::Result<bool>;
        }

        impl TcpStreamExt for TcpStream {
            fn set_quickack(&self, quickack: bool) -> io::Result<()> {
                self.as_std().set_quickack(quickack)
            }

            fn quickack(&self) -> io::Result<bool> {
                self.as_std().quickack()
            }
        }
    }
}
