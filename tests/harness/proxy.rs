//! A way to a server that can be cut: what is sent while it is does not arrive until it is mended.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// A local port behind which another one answers. Its threads end with the test.
pub struct Proxy {
    /// Where to connect.
    pub port: u16,
    cut: Arc<Cut>,
}

/// Whether the way is cut, and who waits until it is not.
#[derive(Default)]
struct Cut {
    is_cut: Mutex<bool>,
    mended: Condvar,
}

impl Proxy {
    /// In front of `port` of this machine.
    #[must_use]
    pub fn to(port: u16) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), port)
    }

    /// The same, where somebody connects already.
    #[must_use]
    pub fn on(listener: TcpListener, port: u16) -> Self {
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            cut: Arc::default(),
        };
        let cut = Arc::clone(&proxy.cut);
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(("127.0.0.1", port)));
                let Ok(far) = far else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let cut = Arc::clone(&cut);
                    thread::spawn(move || forward(from, to, &cut));
                }
            }
        });
        proxy
    }

    /// Nothing arrives any more, and nobody is told.
    pub fn cut(&self) {
        *self.cut.is_cut.lock().unwrap() = true;
    }

    /// What was held back arrives.
    pub fn mend(&self) {
        *self.cut.is_cut.lock().unwrap() = false;
        self.cut.mended.notify_all();
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, cut: &Cut) {
    let mut bytes = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let is_cut = cut.is_cut.lock().unwrap();
        drop(cut.mended.wait_while(is_cut, |is_cut| *is_cut).unwrap());
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _closed_before = to.shutdown(Shutdown::Both);
}
