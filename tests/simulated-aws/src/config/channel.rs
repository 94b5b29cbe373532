//! Delivery channels: where items are delivered. One for each account and region, without which no recorder starts.

use serde_json::{Value, json};

use super::{error, members, required, site, text, texts};
use crate::World;
use crate::operation::{Call, ServiceError};

pub(super) fn put_channel(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let channel = input.get("DeliveryChannel").cloned().unwrap_or_default();
    members(
        &channel,
        "DeliveryChannel",
        &["name", "s3BucketName", "s3KeyPrefix", "s3KmsKeyArn", "snsTopicARN", "configSnapshotDeliveryProperties"],
    )?;
    let mut channel = channel;
    let name = text(&channel, "name").unwrap_or("default").to_owned();
    channel["name"] = Value::from(name.clone());
    if text(&channel, "s3BucketName").is_none_or(str::is_empty) {
        return Err(error("NoSuchBucketException", "Cannot find a S3 bucket with an empty bucket name."));
    }
    if !world.config.recorders.contains_key(&site(call)) {
        let why = "Configuration recorder is not available to put delivery channel.";
        return Err(error("NoAvailableConfigurationRecorderException", why));
    }
    if world.config.channels.get(&site(call)).is_some_and(|other| text(other, "name") != Some(&name)) {
        let why = format!(
            "Failed to put delivery channel '{name}' because the maximum number of delivery channels: 1 is reached."
        );
        return Err(error("MaxNumberOfDeliveryChannelsExceededException", why));
    }
    world.config.channels.insert(site(call), channel);
    Ok(json!({}))
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let channel = world.config.channels.get(&site(call));
    for name in texts(input, "DeliveryChannelNames") {
        if channel.and_then(|channel| text(channel, "name")) != Some(&name) {
            return Err(missing(&name));
        }
    }
    Ok(json!({"DeliveryChannels": Vec::from_iter(channel)}))
}

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = required(input, "DeliveryChannelName")?;
    if world.config.channels.get(&site(call)).and_then(|channel| text(channel, "name")) != Some(name) {
        return Err(missing(name));
    }
    if world.config.recorders.get(&site(call)).is_some_and(|recorder| recorder.recording) {
        let why = format!(
            "Failed to delete last specified delivery channel with name '{name}', because there is a running configuration recorder."
        );
        return Err(error("LastDeliveryChannelDeleteFailedException", why));
    }
    world.config.channels.remove(&site(call));
    Ok(json!({}))
}

fn missing(name: &str) -> ServiceError {
    error("NoSuchDeliveryChannelException", format!("Cannot find delivery channel with specified name '{name}'."))
}
