//! A test of each scenario on each of the three file systems.

/// Makes a test of each scenario on each file system.
#[macro_export]
macro_rules! on_each_file_system {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            use $crate::disk::FileSystem;

            #[test]
            fn on_ext4() {
                super::$scenario(FileSystem::Ext4);
            }

            #[test]
            fn on_xfs() {
                super::$scenario(FileSystem::Xfs);
            }

            #[test]
            fn on_btrfs() {
                super::$scenario(FileSystem::Btrfs);
            }
        }
    )+};
}
