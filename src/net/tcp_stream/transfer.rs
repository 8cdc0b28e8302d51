//! Reading from and writing to a TCP connection.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::time::Instant;

use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags};

use super::TcpStream;
use crate::io::{Direction, Done};
use crate::net::settings;

/// The most buffers that one vectored call takes (`IOV_MAX`); as with std, further ones are left for the next call.
const MAX_BUFFERS: usize = 1024;

impl TcpStream {
    pub(super) fn read_with<T>(&self, call: impl FnMut() -> io::Result<Done<T>>) -> io::Result<T> {
        self.transfer(Direction::Read, call)
    }

    fn write_with<T>(&self, call: impl FnMut() -> io::Result<Done<T>>) -> io::Result<T> {
        self.transfer(Direction::Write, call)
    }

    fn transfer<T>(
        &self,
        direction: Direction,
        mut call: impl FnMut() -> io::Result<Done<T>>,
    ) -> io::Result<T> {
        if self.settings.is_known_nonblocking() {
            // Never without trying: what a hub knows of the readiness is as old as its last look.
            return call().map(Done::into_inner);
        }
        self.source
            .transfer(direction, || self.deadline(direction), call)
    }

    /// The end of a wait that begins now, or the refusal to wait.
    fn deadline(&self, direction: Direction) -> io::Result<Option<Instant>> {
        if self.settings.is_nonblocking(&self.inner)? {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        match direction {
            Direction::Read => {
                settings::deadline(self.settings.read_timeout(), || self.inner.read_timeout())
            }
            Direction::Write => {
                settings::deadline(self.settings.write_timeout(), || self.inner.write_timeout())
            }
        }
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_with(|| {
            let (_, count) = rustix::net::recv(&self.inner, &mut *buf, RecvFlags::DONTWAIT)?;
            Ok(Done::transfer(count, buf.len()))
        })
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let count = bufs.len().min(MAX_BUFFERS);
        let bufs = &mut bufs[..count];
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        self.read_with(|| {
            let mut control = RecvAncillaryBuffer::default();
            let message =
                rustix::net::recvmsg(&self.inner, bufs, &mut control, RecvFlags::DONTWAIT)?;
            Ok(Done::transfer(message.bytes, wanted))
        })
    }
}

impl Write for &TcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.is_empty() {
            // Needs no room, and std does not wait for any.
            return Ok(0);
        }
        self.write_with(|| {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let count = rustix::net::send(&self.inner, buf, flags)?;
            Ok(Done::transfer(count, buf.len()))
        })
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let bufs = &bufs[..bufs.len().min(MAX_BUFFERS)];
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        if wanted == 0 {
            return Ok(0);
        }
        self.write_with(|| {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let mut control = SendAncillaryBuffer::default();
            let count = rustix::net::sendmsg(&self.inner, bufs, &mut control, flags)?;
            Ok(Done::transfer(count, wanted))
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for TcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
