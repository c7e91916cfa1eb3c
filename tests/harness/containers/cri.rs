//! What a kubelet asks of containerd, by the Container Runtime Interface: to pull an image, to make a pod's sandbox, and
//! to start a container in it.

mod messages;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use prost::Message;
use reqwest::Client;
use touchstone_evidence::keyprovider::grpc::{CONTENT_TYPE, text};

use super::containerd::Containerd;
use messages::{
    Config, Container, CreateContainer, Linux, Metadata, Mode, Namespaces, PodMetadata, PullImage,
    RunPodSandbox, SandboxConfig, Security, Spec, Text, path,
};

pub use messages::State;

/// A client of one containerd.
pub struct Cri {
    http: Client,
    logs: PathBuf,
    /// Containers that were asked for: containerd wants to tell those of a pod apart.
    attempts: AtomicU32,
}

/// What the containers of a pod share; here that is the host's network.
pub struct Sandbox {
    id: String,
    config: SandboxConfig,
}

impl Cri {
    /// The client.
    #[must_use]
    pub fn of(containerd: &Containerd) -> Self {
        // Nothing is encrypted here, and reqwest wants to know by what.
        let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = Client::builder()
            .unix_socket(containerd.socket())
            .http2_prior_knowledge()
            .build();
        Self {
            http: http.unwrap(),
            logs: containerd.logs(),
            attempts: AtomicU32::default(),
        }
    }

    /// Pulls an image.
    ///
    /// # Errors
    /// What `kubectl describe pod` shows after `Failed to pull image`; so with all that follows.
    pub async fn pull(&self, image: &str) -> Result<(), String> {
        let image = Some(Spec {
            image: image.to_owned(),
        });
        let pulled: Text = self.ask(path::PULL_IMAGE, &PullImage { image }).await?;
        assert!(!pulled.text.is_empty());
        Ok(())
    }

    /// Makes the sandbox of the pod with this uid, in the host's network.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn sandbox(&self, namespace: &str, name: &str, uid: &str) -> Result<Sandbox, String> {
        let logs = self.logs.join(format!("{namespace}_{name}_{uid}"));
        fs::create_dir_all(&logs).unwrap();
        let options = Namespaces {
            network: Mode::Node.into(),
        };
        let security = Security {
            options: Some(options),
        };
        let config = SandboxConfig {
            metadata: Some(PodMetadata {
                name: name.to_owned(),
                uid: uid.to_owned(),
                namespace: namespace.to_owned(),
            }),
            log_directory: logs.display().to_string(),
            linux: Some(Linux {
                security: Some(security),
            }),
        };
        let request = RunPodSandbox {
            config: Some(config.clone()),
        };
        let made: Text = self.ask(path::RUN_POD_SANDBOX, &request).await?;
        Ok(Sandbox {
            id: made.text,
            config,
        })
    }

    /// Makes a container that is to run `command`, of an image that is there; its id.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn create(
        &self,
        sandbox: &Sandbox,
        image: &str,
        command: &[&str],
    ) -> Result<String, String> {
        let name = "api".to_owned();
        let config = Config {
            log_path: format!("{name}.log"),
            metadata: Some(Metadata {
                name,
                attempt: self.attempts.fetch_add(1, Ordering::Relaxed),
            }),
            image: Some(Spec {
                image: image.to_owned(),
            }),
            command: command.iter().map(|&word| word.to_owned()).collect(),
        };
        let request = CreateContainer {
            sandbox: sandbox.id.clone(),
            config: Some(config),
            sandbox_config: Some(sandbox.config.clone()),
        };
        let made: Text = self.ask(path::CREATE_CONTAINER, &request).await?;
        Ok(made.text)
    }

    /// Starts a container.
    ///
    /// # Errors
    /// Why it does not run.
    pub async fn start(&self, container: &str) -> Result<(), String> {
        let request = named(container);
        let _nothing: Text = self.ask(path::START_CONTAINER, &request).await?;
        Ok(())
    }

    /// How a container stands.
    ///
    /// # Errors
    /// It is not there, for one.
    pub async fn state(&self, container: &str) -> Result<State, String> {
        let request = named(container);
        let answer: Container = self.ask(path::CONTAINER_STATUS, &request).await?;
        Ok(answer.status.unwrap().state())
    }

    async fn ask<A: Message + Default>(
        &self,
        path: &str,
        request: &impl Message,
    ) -> Result<A, String> {
        let message = request.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        // Not compressed.
        let body = [&[0][..], &length, &message].concat();
        let request = self
            .http
            .post(format!("http://containerd{path}"))
            .header("content-type", CONTENT_TYPE)
            .header("te", "trailers");
        let answer = request.body(body).send().await.unwrap();
        // A refusal is headers alone; the status of a success comes after the answer.
        if let Some(reason) = answer.headers().get("grpc-message") {
            return Err(text(reason.as_bytes()));
        }
        let body = answer.bytes().await.unwrap();
        let (head, message) = body.split_at(5);
        assert_eq!(head[0], 0, "a compressed answer");
        Ok(A::decode(message).unwrap())
    }
}

fn named(container: &str) -> Text {
    Text {
        text: container.to_owned(),
    }
}
