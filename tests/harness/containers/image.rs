//! A tiny image in a folder that goes with it.

use std::ops::Deref;

use tempfile::TempDir;
use touchstone_tpm_sim::containers::image;

/// An image that runs by saying its secret.
pub struct Image {
    image: image::Image,
    _folder: TempDir,
}

impl Image {
    /// A new one, of two layers: a busybox, and the secret.
    #[must_use]
    pub fn saying(secret: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = ("secret", secret.as_bytes());
        let image = image::Image::running(folder.path(), &["cat", "/secret"], file).unwrap();
        Self {
            image,
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
