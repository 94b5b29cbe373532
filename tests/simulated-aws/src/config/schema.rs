//! The properties that advanced queries know, with their types.
//!
//! From the property files of `awslabs/aws-config-resource-schema` (17 March 2025): the properties that all resource
//! types share, and those of the types that can name a container image or a task definition. A structure's
//! properties stand in brackets; a type other than `string` follows a colon. AWS searches one merged list for all
//! types, and so does [`kind_of`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// The type of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `string`, and `date`, which is compared as the text it is written as.
    Text,
    /// `integer` and `float`.
    Number,
    /// `boolean`.
    Boolean,
    /// `ip`: compared as a range.
    Address,
}

const COMMON: &str = "\
    accountId arn availabilityZone awsRegion configurationItemCaptureTime \
    configurationItemDeliveryTime:date configurationItemStatus configurationStateId \
    recordingFrequency relationships(resourceId resourceName resourceType) resourceCreationTime \
    resourceId resourceName resourceType tags(key tag value) version";

const BY_TYPE: &[(&str, &str)] = &[
    (
        "AWS::AppRunner::Service",
        "configuration(AutoScalingConfigurationArn EncryptionConfiguration(KmsKey) \
         HealthCheckConfiguration(HealthyThreshold:integer Interval:integer Path Protocol \
         Timeout:integer UnhealthyThreshold:integer) InstanceConfiguration(Cpu InstanceRoleArn \
         Memory) NetworkConfiguration(EgressConfiguration(EgressType VpcConnectorArn) \
         IngressConfiguration(IsPubliclyAccessible:boolean)) \
         ObservabilityConfiguration(ObservabilityConfigurationArn ObservabilityEnabled:boolean) \
         ServiceArn ServiceId ServiceName ServiceUrl \
         SourceConfiguration(AuthenticationConfiguration(AccessRoleArn ConnectionArn) \
         AutoDeploymentsEnabled:boolean \
         CodeRepository(CodeConfiguration(CodeConfigurationValues(BuildCommand Port Runtime \
         RuntimeEnvironmentVariables(Name Value)) ConfigurationSource) RepositoryUrl \
         SourceCodeVersion(Type Value)) ImageRepository(ImageConfiguration(Port \
         RuntimeEnvironmentVariables(Name Value)) ImageIdentifier ImageRepositoryType)) Status)",
    ),
    (
        "AWS::CodeBuild::Project",
        "configuration(artifacts(artifactIdentifier encryptionDisabled:boolean location name \
         namespaceType overrideArtifactName:boolean packaging path type) \
         buildBatchConfig(combineArtifacts:boolean restrictions(computeTypesAllowed \
         maximumBuildsAllowed:integer) serviceRole timeoutInMins:integer) cache(location modes type) \
         concurrentBuildLimit:integer description encryptionKey environment(computeType \
         environmentVariables(name type value) image imagePullCredentialsType privilegedMode:boolean \
         type) fileSystemLocations(identifier location mountPoint type) \
         logsConfig(cloudWatchLogs(groupName status streamName) s3Logs(bucketOwnerAccess \
         encryptionDisabled:boolean location status)) name queuedtimeoutInMinutes:integer \
         secondaryArtifacts(artifactIdentifier encryptionDisabled:boolean location name \
         namespaceType overrideArtifactName:boolean packaging path type) \
         secondarySourceVersions(sourceIdentifier sourceVersion) secondarySources(auth(resource \
         type) buildSpec buildStatusConfig(context targetUrl) gitCloneDepth:integer \
         gitSubmodulesConfig(fetchSubmodules:boolean) location reportBuildStatus:boolean \
         sourceIdentifier type) serviceRole source(auth(resource type) buildSpec \
         buildStatusConfig(context targetUrl) gitCloneDepth:integer \
         gitSubmodulesConfig(fetchSubmodules:boolean) location reportBuildStatus:boolean \
         sourceIdentifier type) sourceVersion timeoutInMinutes:integer vpcConfig(securityGroupIds \
         subnets(buildFleetAZ customerAZ subnet) vpcId) webhook(url))",
    ),
    (
        "AWS::Config::ConfigurationRecorder",
        "configuration(Id Name Recording:boolean RecordingGroup(AllSupported:boolean \
         ExclusionByResourceTypes(ResourceTypes) IncludeGlobalResourceTypes:boolean \
         RecordingStrategy(UseOnly) ResourceTypes) RecordingMode(RecordingFrequency \
         RecordingModeOverrides(RecordingFrequency ResourceTypes)) RoleARN)",
    ),
    (
        "AWS::ECS::Service",
        "configuration(CapacityProviderStrategy(Base:integer CapacityProvider Weight:integer) \
         Cluster DeploymentConfiguration(DeploymentCircuitBreaker(Enable:boolean Rollback:boolean) \
         MaximumPercent:integer MinimumHealthyPercent:integer) DeploymentController(Type) \
         DesiredCount:integer EnableECSManagedTags:boolean EnableExecuteCommand:boolean \
         HealthCheckGracePeriodSeconds:integer LaunchType LoadBalancers(ContainerName \
         ContainerPort:integer LoadBalancerName TargetGroupArn) Name \
         NetworkConfiguration(AwsvpcConfiguration(AssignPublicIp SecurityGroups Subnets)) \
         PlacementConstraints(Expression Type) PlacementStrategies(Field Type) PlatformVersion \
         PropagateTags Role SchedulingStrategy ServiceArn ServiceName \
         ServiceRegistries(ContainerName ContainerPort:integer Port:integer RegistryArn) \
         TaskDefinition)",
    ),
    (
        "AWS::ECS::TaskDefinition",
        "configuration(ContainerDefinitions(Command Cpu:integer DependsOn(Condition ContainerName) \
         DisableNetworking:boolean DnsSearchDomains DnsServers DockerSecurityOptions EntryPoint \
         Environment(Name Value) EnvironmentFiles(Type Value) Essential:boolean ExtraHosts(Hostname \
         IpAddress:ip) FirelensConfiguration(Type) HealthCheck(Command Interval:integer \
         Retries:integer StartPeriod:integer Timeout:integer) Hostname Image Interactive:boolean \
         Links LinuxParameters(Capabilities(Add Drop) Devices(ContainerPath HostPath Permissions) \
         InitProcessEnabled:boolean MaxSwap:integer SharedMemorySize:integer Swappiness:integer \
         Tmpfs(ContainerPath MountOptions Size:integer)) LogConfiguration(LogDriver \
         SecretOptions(Name ValueFrom)) Memory:integer MemoryReservation:integer \
         MountPoints(ContainerPath ReadOnly:boolean SourceVolume) Name \
         PortMappings(ContainerPort:integer HostPort:integer Protocol) Privileged:boolean \
         PseudoTerminal:boolean ReadonlyRootFilesystem:boolean \
         RepositoryCredentials(CredentialsParameter) ResourceRequirements(Type Value) Secrets(Name \
         ValueFrom) StartTimeout:integer StopTimeout:integer SystemControls(Namespace Value) \
         Ulimits(HardLimit:integer Name SoftLimit:integer) User VolumesFrom(ReadOnly:boolean \
         SourceContainer) WorkingDirectory) Cpu ExecutionRoleArn Family \
         InferenceAccelerators(DeviceName DeviceType) IpcMode Memory NetworkMode PidMode \
         PlacementConstraints(Expression Type) ProxyConfiguration(ContainerName Properties(Name \
         Value) Type) RequiresCompatibilities Status TaskDefinitionArn TaskRoleArn \
         Volumes(DockerVolumeConfiguration(Autoprovision:boolean Driver Scope) \
         EfsVolumeConfiguration(AuthorizationConfig(AccessPointId Iam) FileSystemId RootDirectory \
         TransitEncryption TransitEncryptionPort:integer) \
         FsxWindowsFileServerVolumeConfiguration(AuthorizationConfig(CredentialsParameter Domain) \
         FileSystemId RootDirectory) Host(SourcePath) Name))",
    ),
    (
        "AWS::ECS::TaskSet",
        "configuration(Cluster ExternalId Id LaunchType LoadBalancers(ContainerName \
         ContainerPort:integer LoadBalancerName TargetGroupArn) \
         NetworkConfiguration(AwsVpcConfiguration(AssignPublicIp SecurityGroups Subnets)) \
         PlatformVersion Scale(Unit Value:float) Service ServiceRegistries(ContainerName \
         ContainerPort:integer Port:integer RegistryArn) TaskDefinition)",
    ),
    (
        "AWS::Events::Rule",
        "configuration(Arn Description EventBusName Id Name RoleArn ScheduleExpression State \
         Targets(Arn BatchParameters(ArrayProperties(Size:integer) JobDefinition JobName \
         RetryStrategy(Attempts:integer)) DeadLetterConfig(Arn) \
         EcsParameters(CapacityProviderStrategy(Base:integer CapacityProvider Weight:integer) \
         EnableECSManagedTags:boolean EnableExecuteCommand:boolean Group LaunchType \
         NetworkConfiguration(AwsVpcConfiguration(AssignPublicIp SecurityGroups Subnets)) \
         PlacementConstraints(Type) PlacementStrategies(Field Type) PlatformVersion PropagateTags \
         ReferenceId TaskCount:integer TaskDefinitionArn) HttpParameters(PathParameterValues) Id \
         Input InputPath KinesisParameters(PartitionKeyPath) RedshiftDataParameters(Database DbUser \
         SecretManagerArn StatementName WithEvent:boolean) \
         RetryPolicy(MaximumEventAgeInSeconds:integer MaximumRetryAttempts:integer) RoleArn \
         RunCommandParameters(RunCommandTargets(Key Values)) \
         SageMakerPipelineParameters(PipelineParameterList(Name Value)) \
         SqsParameters(MessageGroupId)))",
    ),
    (
        "AWS::Lambda::Function",
        "configuration(architectures codeSha256 codeSize:integer deadLetterConfig(targetArn) \
         description ephemeralStorage(size:integer) fileSystemConfigs(arn localMountPath) \
         functionArn functionName handler imageConfigResponse(error(errorCode) \
         imageConfig(entryPoint workingDirectory)) kmskeyArn lastModified:date lastUpdateStatus \
         lastUpdateStatusReasonCode layers(arn codeSize:integer signingJobArn \
         signingProfileVersionArn) memorySize:integer packageType revisionId role runtime \
         signingJobArn signingProfileVersionArn state(value) stateReason(value) stateReasonCode \
         timeout:integer tracingConfig(mode) version vpcConfig(securityGroupIds subnetIds)) \
         supplementaryConfiguration(Concurrency(reservedConcurrentExecutions:float))",
    ),
    (
        "AWS::SageMaker::Model",
        "configuration(Containers(ContainerHostname Image ImageConfig(RepositoryAccessMode \
         RepositoryAuthConfig(RepositoryCredentialsProviderArn)) InferenceSpecificationName Mode \
         ModelDataUrl ModelPackageName MultiModelConfig(ModelCacheSetting)) \
         EnableNetworkIsolation:boolean ExecutionRoleArn Id InferenceExecutionConfig(Mode) ModelName \
         PrimaryContainer(ContainerHostname Image ImageConfig(RepositoryAccessMode \
         RepositoryAuthConfig(RepositoryCredentialsProviderArn)) InferenceSpecificationName Mode \
         ModelDataUrl ModelPackageName MultiModelConfig(ModelCacheSetting)) \
         VpcConfig(SecurityGroupIds Subnets))",
    ),
];

struct Schema {
    properties: BTreeMap<String, Kind>,
    structures: BTreeSet<String>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let mut schema = Schema { properties: BTreeMap::new(), structures: BTreeSet::new() };
    for table in std::iter::once(COMMON).chain(BY_TYPE.iter().map(|(_, table)| *table)) {
        schema.add(table);
    }
    schema
});

impl Schema {
    fn add(&mut self, table: &str) {
        let spaced = table.replace('(', " ( ").replace(')', " ) ");
        let (mut path, mut last) = (Vec::new(), "");
        let mut words = spaced.split_whitespace().peekable();
        while let Some(word) = words.next() {
            match word {
                "(" => path.push(last),
                ")" => {
                    path.pop();
                }
                _ if words.peek() == Some(&"(") => {
                    last = word;
                    self.structures.insert(joined(&path, word));
                }
                _ => {
                    let (name, kind) = word.split_once(':').unwrap_or((word, "string"));
                    let kind = match kind {
                        "string" | "date" => Kind::Text,
                        "integer" | "float" => Kind::Number,
                        "boolean" => Kind::Boolean,
                        "ip" => Kind::Address,
                        other => panic!("the table has an unknown type {other}"),
                    };
                    self.properties.insert(joined(&path, name), kind);
                }
            }
        }
    }
}

fn joined(path: &[&str], name: &str) -> String {
    path.iter().chain([&name]).copied().collect::<Vec<_>>().join(".")
}

/// The type of a scalar property, such as `configuration.ContainerDefinitions.Image`; `None` if no resource type of the
/// tables has it.
pub(crate) fn kind_of(property: &str) -> Option<Kind> {
    SCHEMA.properties.get(property).copied()
}

/// Whether it is a structure that has properties, such as `configuration`.
pub(crate) fn is_structure(property: &str) -> bool {
    SCHEMA.structures.contains(property)
}

#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = (&'static str, Kind)> {
    SCHEMA.properties.iter().map(|(name, kind)| (name.as_str(), *kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_an_image_or_a_task_definition_is_in_the_tables() {
        for property in [
            "configuration.ContainerDefinitions.Image",
            "configuration.Status",
            "configuration.Family",
            "configuration.TaskDefinitionArn",
            "configuration.TaskDefinition",
            "configuration.ServiceArn",
            "configuration.Cluster",
            "configuration.Service",
            "configuration.Targets.EcsParameters.TaskDefinitionArn",
            "configuration.SourceConfiguration.ImageRepository.ImageIdentifier",
            "configuration.PrimaryContainer.Image",
            "configuration.Containers.Image",
            "configuration.environment.image",
            "configuration.packageType",
            "configuration.codeSha256",
            "configuration.RecordingGroup.RecordingStrategy.UseOnly",
            "recordingFrequency",
            "tags.tag",
        ] {
            assert_eq!(kind_of(property), Some(Kind::Text), "{property}");
        }
        assert_eq!(kind_of("configuration.DesiredCount"), Some(Kind::Number));
        assert_eq!(kind_of("configuration.Recording"), Some(Kind::Boolean));
        assert_eq!(kind_of("configuration.containerDefinitions.image"), None, "the case matters");
        assert!(is_structure("configuration.ContainerDefinitions") && !is_structure("configuration.Status"));
    }

    #[test]
    fn a_structures_properties_follow_it() {
        let mut schema = Schema { properties: BTreeMap::new(), structures: BTreeSet::new() };
        schema.add("a b(c:integer d(e)) f:ip");
        let names: Vec<_> = schema.properties.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "b.c", "b.d.e", "f"]);
        assert_eq!(schema.structures.iter().map(String::as_str).collect::<Vec<_>>(), ["b", "b.d"]);
    }
}
