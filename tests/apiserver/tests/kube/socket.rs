use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The program with a folder of its own.
struct Program(Child, PathBuf);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_dir_all(&self.1);
    }
}

#[test]
fn the_program_serves_what_it_loads_and_obeys_orders_on_its_socket() {
    let folder = std::env::temp_dir().join(format!("sluice-apiserver-{}", std::process::id()));
    fs::create_dir_all(folder.join("objects")).unwrap();
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}\n";
    fs::write(folder.join("objects/web.yaml"), text).unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    let child = Command::new(env!("CARGO_BIN_EXE_sluice-apiserver"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--token",
            "secret",
            "--load",
            &at("objects"),
        ])
        .args(["--kubeconfig", &at("kubeconfig"), "--control", &at("socket")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut program = Program(child, folder.clone());
    let mut url = String::new();
    BufReader::new(program.0.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let mut socket = BufReader::new(UnixStream::connect(folder.join("socket")).unwrap());
    let mut tell = |order: Value| -> Value {
        socket.get_mut().write_all(format!("{order}\n").as_bytes()).unwrap();
        let mut line = String::new();
        socket.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    assert_eq!(
        tell(json!({"do": "objects", "resource": "services"}))["ok"][0]["spec"]["ports"][0]["protocol"],
        "TCP"
    );
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n";
    assert_eq!(tell(json!({"do": "apply", "yaml": map}))["ok"], 2);
    assert!(tell(json!({"do": "nonsense"}))["error"].is_string());
    let fault = json!({"fault": "answer", "code": 500, "resource": "services", "times": 1});
    assert_eq!(tell(json!({"do": "fault", "rule": fault}))["ok"], 1);
    super::run(async {
        let kubeconfig = Kubeconfig::read_from(folder.join("kubeconfig")).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .unwrap();
        let mut config = config;
        config.default_retry = false;
        let api = Api::<k8s_openapi::api::core::v1::Service>::all(Client::try_from(config).unwrap());
        assert!(api.list(&Default::default()).await.is_err());
        assert_eq!(api.list(&Default::default()).await.unwrap().items.len(), 1);
    });
    assert_eq!(tell(json!({"do": "struck", "id": 1}))["ok"], 1);
    let counters = tell(json!({"do": "counters"}))["ok"].clone();
    assert!(
        counters["requests"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row == &json!({"verb": "list", "resource": "services", "count": 2}))
    );
    let tell = Command::new(env!("CARGO_BIN_EXE_sluice-apiserver"))
        .args(["tell", &at("socket"), "{\"do\":\"expire-token\",\"token\":\"secret\"}"])
        .output()
        .unwrap();
    assert!(tell.status.success(), "{tell:?}");
}
