//! Friendly names of what AWS calls by numbers, digests and ARNs.

use std::collections::BTreeMap;

/// Names of accounts and images.
#[derive(Debug, Clone, Default)]
pub struct Legend {
    accounts: BTreeMap<String, String>,
    images: BTreeMap<String, String>,
    pushes: BTreeMap<String, u32>,
}

impl Legend {
    /// Names an account.
    pub fn name_account(&mut self, id: &str, name: &str) {
        self.accounts.insert(id.to_owned(), name.to_owned());
    }

    /// The name of an account, or its id.
    pub fn account(&self, id: &str) -> String {
        self.accounts.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }

    /// The id of an account by its name.
    pub fn account_id(&self, name: &str) -> Option<&str> {
        self.accounts.iter().find(|(_, known)| *known == name).map(|(id, _)| id.as_str())
    }

    /// How often an image was pushed under this name.
    pub fn pushes(&self, name: &str) -> u32 {
        self.pushes.get(name).copied().unwrap_or(0)
    }

    /// Names an image that was pushed; the second of a name is told from the first.
    pub fn name_image(&mut self, digest: &str, name: &str) -> String {
        let pushes = self.pushes.entry(name.to_owned()).or_default();
        *pushes += 1;
        let name = if *pushes == 1 { name.to_owned() } else { format!("{name} (push {pushes})") };
        self.images.entry(digest.to_owned()).or_insert(name).clone()
    }

    /// The name of an image, or repository and the beginning of the digest.
    pub fn image(&self, repository: &str, digest: &str) -> String {
        self.images
            .get(digest)
            .cloned()
            .unwrap_or_else(|| format!("{repository}@{}", digest.get(..19).unwrap_or(digest)))
    }

    /// A reason in plain words: accounts, images, services and task definitions by their names.
    pub fn plain(&self, text: &str) -> String {
        let words = text.split(' ').map(|word| {
            let core = word.trim_end_matches([',', ':', ';', '.', ')']).trim_start_matches('(');
            let (before, after) = word.split_once(core).unwrap_or_default();
            format!("{before}{}{after}", self.word(core))
        });
        let text = words.collect::<Vec<_>>().join(" ");
        [
            (" in account ", " in "),
            (" and region ", " "),
            (": this AWS::ECS::Service runs ", " runs "),
            (": this AWS::ECS::TaskSet runs ", " runs "),
            (": this AWS::Events::Rule runs ", " runs "),
            (": a live deployment of this service runs ", " runs in a live deployment "),
            (": this service has pinned ", " has pinned "),
            (": this task definition is ACTIVE ", " is ACTIVE "),
        ]
        .iter()
        .fold(text, |text, (long, short)| text.replace(long, short))
    }

    fn word(&self, word: &str) -> String {
        if let Some(name) = self.accounts.get(word).or_else(|| self.images.get(word)) {
            return name.clone();
        }
        if let Some((_, name)) = word.split_once(".amazonaws.com/") {
            let digest = name.split_once('@').and_then(|(_, digest)| self.images.get(digest));
            return digest.cloned().unwrap_or_else(|| name.to_owned());
        }
        let Some(resource) = word.strip_prefix("arn:").and_then(|arn| arn.splitn(5, ':').nth(4)) else {
            return word.to_owned();
        };
        match resource.split_once('/') {
            Some(("service", path)) => format!("service {}", path.rsplit('/').next().unwrap_or(path)),
            Some(("task-definition", name)) => format!("task definition {name}"),
            Some(("task-set", path)) => format!("task set {}", path.rsplit('/').next().unwrap_or(path)),
            Some((_, name)) => name.to_owned(),
            None => resource.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legend() -> Legend {
        let mut legend = Legend::default();
        legend.name_account("222222222222", "shop");
        legend.name_image("sha256:aa", "web:1.0");
        legend
    }

    #[test]
    fn reasons_are_told_with_names() {
        for (reason, plain) in [
            (
                "arn:aws:ecs:us-east-1:222222222222:service/default/api in account 222222222222 and region us-east-1: \
                 this AWS::ECS::Service runs arn:aws:ecs:us-east-1:222222222222:task-definition/api:1",
                "service api in shop us-east-1 runs task definition api:1",
            ),
            ("account 222222222222 in us-east-1 is not covered", "account shop in us-east-1 is not covered"),
            ("the index sha256:aa lists it", "the index web:1.0 lists it"),
            ("names 111111111111.dkr.ecr.eu-west-1.amazonaws.com/web:1.0", "names web:1.0"),
            ("(sha256:aa), sha256:bb", "(web:1.0), sha256:bb"),
            ("too early:  twice", "too early:  twice"),
        ] {
            assert_eq!(legend().plain(reason), plain);
        }
    }

    #[test]
    fn a_second_push_under_a_name_is_told_from_the_first() {
        let mut legend = legend();
        assert_eq!(legend.name_image("sha256:bb", "web:1.0"), "web:1.0 (push 2)");
        assert_eq!(legend.image("web", "sha256:aa"), "web:1.0");
        assert_eq!(legend.image("web", "sha256:0123456789abcdef"), "web@sha256:0123456789ab");
    }
}
