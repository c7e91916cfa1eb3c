//! A tiny image in a folder that goes with it.

use std::ops::Deref;
use std::path::Path;

use tempfile::TempDir;
use touchstone_tpm_sim::containers::{self, image};

/// An image that runs by saying its secret.
pub struct Image {
    image: image::Image,
    _folder: TempDir,
}

impl Image {
    /// A new one, of two layers: a busybox, and the secret.
    #[must_use]
    pub fn saying(secret: &str) -> Self {
        let file = ("secret", secret.as_bytes());
        Self::made(|folder| image::Image::running(folder, &["cat", "/secret"], file))
    }

    /// A new one for the containers that only wait, of which every pod has one.
    #[must_use]
    pub fn waiting() -> Self {
        Self::made(image::Image::waiting)
    }

    fn made(make: impl FnOnce(&Path) -> containers::Result<image::Image>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            image: make(folder.path()).unwrap(),
            _folder: folder,
        }
    }
}

impl Deref for Image {
    type Target = image::Image;

    fn deref(&self) -> &image::Image {
        &self.image
    }
}
